"""The budget of one answer, in values and bytes, and the pauses in which other callers get the loop."""

from __future__ import annotations

import asyncio
from itertools import count
from time import perf_counter
from typing import Any, Protocol

import orjson
from graphql import GraphQLError

from onward.graphql.base import public_error
from onward.graphql.fair_queue import SLICE_S, FairSlots, LoopScheduler
from onward.jobs.pages import Allowance, json_values

READS_AT_ONCE = 3  # of the ledger, by all queries of a process
SHORT_TURNS = 2  # after more of them an answer counts as long
VALUE_BYTES = 8  # of a value that is no text, with its name and marks: about what JSON takes


_numbers = count(1)


class Connection(Protocol):
    """The connection that an answer goes to."""

    def is_closing(self) -> bool: ...


class Shares:
    """The parts of a process that callers share: the event loop, and the threads that read the ledger."""

    def __init__(self) -> None:
        self.loop = LoopScheduler()
        self.reads = FairSlots(READS_AT_ONCE)
        self.documents = FairSlots(1)


class Meter:
    """Counts down what one answer may still hold. Raises GraphQLError ANSWER_TOO_LARGE past its end.

    An answer whose `connection` has closed is not built further: nobody reads it.
    """

    __slots__ = (
        "_began",
        "_number",
        "_turns",
        "bytes",
        "caller",
        "connection",
        "fields",
        "most",
        "pages",
        "reading",
        "shares",
        "values",
    )

    def __init__(
        self, values: int = 1 << 62, bytes_: int = 1 << 62, caller: str = "", shares: Shares | None = None
    ) -> None:
        self.most = (values, bytes_)
        self.caller = caller
        self.shares = shares or Shares()
        self.connection: Connection | None = None  # of the query; a mutation goes on without one
        self.fields: frozenset[str] = frozenset()  # the names of the document's fields; empty where they are unknown
        self.reading = asyncio.Lock()  # pages of one answer are read one after another, each within what is left
        self._began = perf_counter()
        self.start()

    def start(self) -> None:
        """Begin an answer with the whole budget."""
        self._number, self._turns = next(_numbers), 0
        self.values, self.bytes = self.most
        self.pages = Allowance(self.bytes, self.values)  # read, but not part of the answer yet

    def check(self) -> None:
        if self.values < 0 or self.bytes < 0:
            raise self.too_large()

    def go_back(self, before: tuple[int, int]) -> None:
        """Forget what was counted since the values and bytes were these, except at the end of the budget."""
        if self.values >= 0 and self.bytes >= 0:
            self.values, self.bytes = before

    def too_large(self) -> GraphQLError:
        """Return the error of an answer past its budget; nothing more of the answer is built."""
        self.values = self.bytes = -1
        message = (
            f"The answer would have more than {self.most[0]} values or {self.most[1]} bytes:"
            " ask for fewer objects or fields at once."
        )
        return public_error(message, "ANSWER_TOO_LARGE")

    def check_connection(self) -> None:
        """Raise a GraphQLError if the client has gone."""
        if self.connection is not None and self.connection.is_closing():
            self.values = self.bytes = -1
            raise public_error("The client has closed the connection.", "CANCELLED")

    def count_value(self, value: Any) -> None:
        """Count a completed leaf."""
        self.count_values(1)
        self.count_content(value)

    def count_values(self, number: int) -> None:
        """Count leaves without their content."""
        self.values -= number
        self.bytes -= number * VALUE_BYTES
        self.check()

    def count_content(self, value: Any) -> None:
        """Count what is in a completed leaf: a text, or JSON."""
        if type(value) is str:
            self.bytes -= len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        elif type(value) is dict or type(value) is list:
            text = _json(value)
            self.bytes -= len(text)
            self.values -= json_values(text)
        self.check()

    def is_due(self) -> bool:
        """Return whether the slice is over."""
        return perf_counter() - self._began > SLICE_S

    @property
    def rank(self) -> int:
        """The place among the answers of the caller: 0 while it is short, then by age.

        If long answers took turns, all of them would be half done, and in memory: the garbage collector, which stops
        everybody, would look through them again and again.
        """
        return 0 if self._turns <= SHORT_TURNS else self._number

    async def rest(self) -> None:
        """Give the loop back, and begin a new slice when it is this caller's turn."""
        self._turns += 1
        await self.shares.loop.turn(self.caller, self.rank)
        self.check_connection()
        self._began = perf_counter()


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # a value that is not JSON is refused where the answer is written
        return b""
