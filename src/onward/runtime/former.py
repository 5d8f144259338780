"""The backend interface of release 0.1: `run.here`, `run.take`, `Backend.home`, `Delivery.home`."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import fields
from typing import Any

from onward.backends.base import Backend, Defer, Delivery, Run


class FormerRun:
    """`Run` under its former and its present names."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def here(self) -> str:
        """Return `runner_id`."""
        return self._run.runner_id

    @property
    def runner_id(self) -> str:
        """The name under which this process claims jobs."""
        return self._run.runner_id

    async def __call__(self, job_id: str, *, recorded: bool = True, wait_for_commit: bool = True) -> bool:
        """Run the job; return False if it could not be claimed."""
        return await self._run(job_id, wait_for_commit=recorded and wait_for_commit)

    async def take(self, limit: int, *, besides: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        """Claim as `claim` does."""
        return await self._run.claim(limit, exclude=besides)

    async def claim(self, limit: int, *, exclude: Collection[str] = ()) -> Sequence[Callable[[], Awaitable[None]]]:
        """Claim up to `limit` waiting jobs of this backend."""
        return await self._run.claim(limit, exclude=exclude)


class FormerDelivery(Delivery):
    """A delivery that also has its former names."""

    __slots__ = ()

    @property
    def home(self) -> str | None:
        """Return `local_runner`."""
        return self.local_runner

    @property
    def token(self) -> int:
        """Return `fencing_token`."""
        return self.fencing_token


class _Former(ABCMeta):
    """Gives a backend of release 0.1 the `run` and the deliveries that it knows."""

    def __call__(cls, run: Run, *arguments: Any, **options: Any) -> Any:
        backend = super().__call__(FormerRun(run), *arguments, **options)
        deliver = backend.deliver

        async def deliver_former(deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
            former = [FormerDelivery(*(getattr(one, field.name) for field in fields(one))) for one in deliveries]
            await deliver(former, after_response=after_response)

        backend.deliver = deliver_former
        return backend


class FormerBackend(Backend, metaclass=_Former):
    """The base class of backends that were written for release 0.1."""

    def home(self) -> str | None:
        """Return the runner that owns a new job; None if any may claim it."""
        return None

    def local_runner(self) -> str | None:
        """Return `home()`."""
        return self.home()
