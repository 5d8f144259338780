"""Fair turns for callers that compete for the event loop, or for a few slots.

Fair queueing by virtual time: the clock of each caller advances by what it has used, and the caller whose clock is
behind goes first (Demers, Keshav and Shenker, 1989). So whoever asks for much waits behind those who ask for little.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")
SLICE_S = 0.002  # of the event loop, for one caller at a time
WAIT_MARGIN = 10_000  # callers that are remembered, at most


class _Requests:
    """One caller's: short ones in order of arrival, long ones by rank, and turn about where there are both."""

    def __init__(self) -> None:
        self._short: deque[asyncio.Future[None]] = deque()
        self._long: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap
        self._is_long_next = False

    def __bool__(self) -> bool:
        return bool(self._short or self._long)

    def add(self, rank: int, number: int, turn: asyncio.Future[None]) -> None:
        if rank:
            heapq.heappush(self._long, (rank, number, turn))
        else:
            self._short.append(turn)

    def take(self) -> asyncio.Future[None] | None:
        """Return the next one that has not given up."""
        while self:
            is_long = bool(self._long) and (self._is_long_next or not self._short)
            turn = heapq.heappop(self._long)[2] if is_long else self._short.popleft()
            self._is_long_next = not is_long
            if not turn.done():
                return turn
        return None


class FairQueue:
    """Waiting callers by their use so far; each caller's own requests as `_Requests` has them."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, _Requests] = defaultdict(_Requests)
        self._line: list[tuple[float, int, str]] = []  # a heap with an entry for each caller that waits
        self._clocks: dict[str, float] = {}
        self._now = 0.0
        self._number = count()

    def __bool__(self) -> bool:
        return bool(self._line)

    def add(self, caller: str, rank: int = 0) -> asyncio.Future[None]:
        """Return a future that ends when it is the caller's turn; `rank` is 0 for a short request."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if caller not in self._waiting:
            self._enqueue(caller)
        self._waiting[caller].add(rank, next(self._number), turn)
        return turn

    def next(self) -> str | None:
        """Give the next caller its turn; None where nobody waits."""
        while self._line:
            clock, _, caller = heapq.heappop(self._line)
            waiting = self._waiting[caller]
            turn = waiting.take()
            if turn is None:
                del self._waiting[caller]
                continue
            self._now = max(self._now, clock)
            turn.set_result(None)
            if waiting:
                self._clocks[caller] = max(self._clocks.get(caller, 0.0), self._now)
                self._enqueue(caller)
            else:
                del self._waiting[caller]
            return caller
        return None

    def charge(self, caller: str, used: float) -> None:
        """Advance the caller's clock by its use."""
        if not self._line:  # use without competition costs nobody a later turn
            self._clocks.clear()
            return
        self._clocks[caller] = max(self._clocks.get(caller, 0.0), self._now) + used
        if len(self._clocks) > WAIT_MARGIN:
            self._clocks = {name: clock for name, clock in self._clocks.items() if clock > self._now}

    def _enqueue(self, caller: str) -> None:
        clock = max(self._clocks.get(caller, 0.0), self._now)
        heapq.heappush(self._line, (clock, next(self._number), caller))


class LoopScheduler:
    """Turns on the event loop: one caller's slice in each of its iterations, where more is asked for than that.

    Between two slices the loop reads its sockets and runs whatever else is ready.
    """

    def __init__(self) -> None:
        self._queue = FairQueue()
        self._caller = ""
        self._since: float | None = None  # the begin of this iteration's slice
        self._context = Context()  # for calls of our own: a copy of the present one costs as much as they do

    async def turn(self, caller: str, rank: int = 0) -> None:
        """Return at once while this iteration has time left and nobody waits; else in a later one."""
        if self._since is None:
            self._begin(caller)
        elif self._queue or perf_counter() - self._since > SLICE_S:
            await self._queue.add(caller, rank)

    def _begin(self, caller: str) -> None:
        self._caller, self._since = caller, perf_counter()
        asyncio.get_running_loop().call_soon(self._end, context=self._context)

    def _end(self) -> None:
        """End the slice, in the loop's next iteration."""
        if self._since is not None:
            self._queue.charge(self._caller, perf_counter() - self._since)
        self._since = None
        caller = self._queue.next()
        if caller is not None:
            self._begin(caller)


class FairSlots:
    """A few slots for work, which callers take in turn and are charged for by the time that it takes."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._queue = FairQueue()

    async def run(self, caller: str, begin: Callable[[], Awaitable[T]], rank: int = 0) -> T:
        """Begin work in a slot, and return its result.

        The work goes on to its end if the caller is cancelled, and keeps its slot until then: a thread cannot be
        ended, and a caller that leaves over and over would have one beside the other.
        """
        await self._take(caller, rank)
        try:
            working = asyncio.ensure_future(begin())
        except BaseException:
            self._pass_on()
            raise
        working.add_done_callback(partial(self._end, caller, perf_counter()))
        try:
            await asyncio.wait((working,))
            return working.result()
        finally:
            del working  # its error has a traceback that refers to this frame

    async def _take(self, caller: str, rank: int) -> None:
        if self._free and not self._queue:
            self._free -= 1
            return
        turn = self._queue.add(caller, rank)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _end(self, caller: str, started: float, working: asyncio.Future[Any]) -> None:
        self._queue.charge(caller, perf_counter() - started)
        self._pass_on()
        if not working.cancelled():
            working.exception()  # nobody may be left who asks for it

    def _pass_on(self) -> None:
        if self._queue.next() is None:
            self._free += 1
