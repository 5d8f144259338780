"""The results of a batch, for the handler of the job that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from typing_extensions import TypeVar

from onward.handlers.errors import Permanent

T = TypeVar("T", default=Any)


@dataclass(frozen=True, slots=True)
class ChildError:
    """The error of a child, as callers see it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ChildResult(Generic[T]):
    """A child of a batch that is over: a job, or a batch in the batch, whose result is that of its `then`.

    `status` is SUCCEEDED, FAILED or CANCELLED; another one only if somebody has retried the child since.
    """

    id: str
    status: str
    result: T | None
    error: ChildError | None

    @property
    def succeeded(self) -> bool:
        return self.status == "SUCCEEDED"


Page = Sequence[tuple[int, ChildResult[Any]]]
"""Children in the order of the batch, each with its position."""


class Pages(Protocol):
    """Reads the children behind a position, a page at a time; an empty one is the end."""

    def read(self, after: int) -> Page: ...
    async def read_async(self, after: int) -> Page: ...


class Results(Generic[T]):
    """The children of a batch in its order, read page by page: `async for`, or `for` in a plain function.

    A handler takes them behind the job: `async def publish(job: JobContext, results: Results[Image], *, album: str)`.
    Empty for a job that follows no batch. Each loop reads anew.
    """

    total: int

    def __init__(
        self, total: int = 0, pages: Pages | None = None, restore: Callable[[Any], Any] = lambda stored: stored
    ) -> None:
        self.total = total
        self._pages = pages
        self._restore = restore

    def __iter__(self) -> Iterator[ChildResult[T]]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._read()
        raise TypeError("an async handler reads its results with `async for`")

    def _read(self) -> Iterator[ChildResult[T]]:
        after = -1
        while self._pages is not None and (page := self._pages.read(after)):
            after = page[-1][0]
            yield from map(self._restored, page)

    async def __aiter__(self) -> AsyncIterator[ChildResult[T]]:
        after = -1
        while self._pages is not None and (page := await self._pages.read_async(after)):
            after = page[-1][0]
            for one in page:
                yield self._restored(one)

    def _restored(self, found: tuple[int, ChildResult[Any]]) -> ChildResult[T]:
        position, child = found
        if child.result is None:
            return child
        try:
            return replace(child, result=self._restore(child.result))
        except ValidationError as error:
            words = f"the result of child {position}, {child.id}, is not of the type that Results[...] names"
            raise Permanent(words, code="RESULT_INVALID") from error


class ResultsParameter(NamedTuple):
    """The parameter of a handler that takes the results of a batch; `adapter` is of the type in the brackets."""

    adapter: TypeAdapter[Any] | None

    def restore(self, stored: Any) -> Any:
        """Turn a stored result into a value of the type. Raises ValidationError."""
        if self.adapter is None:
            return stored
        return self.adapter.validate_json(to_json(stored), strict=True, by_alias=True, by_name=True)
