"""Jobs as tasks of the API process.

| | |
|---|---|
| a job starts | after the response has left, in the same process |
| several jobs of one request | one after another, where a slot was free when they were accepted |
| jobs that a program enqueues, or a handler dispatches | side by side, each in a slot |
| jobs that maintenance delivers | likewise |
| no slot free | the job stays in the ledger until a slot is free and claims it: memory does not grow |
| the process dies | the job is claimed by the next one, or a neighbour |
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial

from onward import telemetry
from onward.backends.base import Backend, Defer, Delivery, Health, Role, Run
from onward.jobs.timings import Timings, to_next_tick
from onward.storage.base import StorageError


class Background(Backend):
    """Runs at most `concurrency` jobs at once."""

    runs_elsewhere = False

    def __init__(self, run: Run, *, concurrency: int = 32, timings: Timings = Timings()) -> None:
        self._timings = timings
        self._run = run
        self._free = concurrency
        self._asked = 0  # free slots that a claim in progress may fill
        self._waiting: deque[Sequence[str]] = (
            deque()
        )  # had a slot when accepted, and none when delivered; of a request together
        self._reserved: set[str] = set()  # jobs that wait behind others of their request, and must not be claimed
        self._backlog = False  # the last claim filled all its slots: there is a backlog
        self._any_left = True  # whether jobs may wait in the ledger that a free slot could run
        self._runs_here = False
        self._more = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = Context()
        self._claimer: asyncio.Task[None] | None = None
        self._log = telemetry.logger("background")

    async def start(self, role: Role) -> None:
        if role is Role.ACCEPT:
            self._runs_here = True
            self._context = copy_context()
            self._claimer = asyncio.create_task(self._claim_more(), name="claimer")

    async def drain(self, deadline_s: float) -> None:  # noqa: ARG002 - the runner waits for what runs
        self._runs_here = False
        if self._claimer is not None:
            self._claimer.cancel()
            with suppress(asyncio.CancelledError):
                await self._claimer

    def wake(self) -> None:
        self._any_left = True
        self._more.set()

    def local_runner(self) -> str | None:
        # Not while others wait that had a slot when they were accepted, so that these stay few.
        return self._run.runner_id if self._runs_here and self._free > 0 and not self._waiting else None

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:
        if self._runs_here:
            local_runners = {delivery.local_runner for delivery in deliveries}
            after_response(self._begin, [delivery.job_id for delivery in deliveries], local_runners)

    async def health(self) -> Health:
        return Health(reachable=True, identity=self._run.runner_id)

    async def _begin(self, job_ids: Sequence[str], local_runners: set[str | None]) -> None:
        """Run the jobs of a request one after another, any others side by side; without a free slot they wait."""
        if not self._runs_here:
            return
        # A task of its own: at its end the server waits for a request's tasks, and then cancels them.
        here = self._run.runner_id in local_runners  # jobs of one request that had a slot when they were accepted
        for ids in [job_ids] if here else [[job_id] for job_id in job_ids]:
            if self._free > self._asked:
                self._reserved.update(ids)
                self._spawn(partial(self._in_order, ids), ids)
            elif here:
                self._reserved.update(ids)
                self._waiting.append(ids)
                self._more.set()
            else:
                self.wake()
                break  # they wait in the ledger

    async def _in_order(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            if not self._runs_here:
                return  # the drain gives all that have not begun to any process
            self._reserved.discard(job_id)
            try:
                await self._run(job_id)
            except StorageError as error:  # a known refusal, such as a full disk: the job waits in the ledger
                self._log.warning("not run yet", job=job_id, error=str(error))
            except Exception:  # noqa: BLE001 - an error of one job must not stop the next
                self._log.warning("not run yet", job=job_id, exc_info=True)

    def _spawn(self, call: Callable[[], Awaitable[None]], reserved: Sequence[str] = ()) -> None:
        self._free -= 1

        async def in_slot() -> None:
            try:
                await call()
            except StorageError as error:
                self._log.warning("not run to its end", error=str(error))

        # Of the process, as in a worker: a handler must not see the variables of the request that happened to find a
        # free slot.
        context = self._context.copy()
        task = asyncio.create_task(in_slot(), context=context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, reserved), context=context)

    def _ended(self, reserved: Sequence[str], task: asyncio.Task[None]) -> None:
        """Free the slot, and the jobs that have not begun: the task may have been cancelled before its first step."""
        self._tasks.discard(task)
        self._free += 1
        if not self._reserved.isdisjoint(reserved):
            self._reserved.difference_update(reserved)
            self._any_left = True
        if self._any_left or self._waiting:
            self._more.set()

    async def _claim_more(self) -> None:
        """Fill free slots with waiting requests, then with waiting jobs of the ledger."""
        while True:
            try:
                async with asyncio.timeout(to_next_tick(self._timings.slot_check_s)):
                    await self._more.wait()
            except TimeoutError:
                self._any_left = True
            self._more.clear()
            try:
                while self._free > 0:
                    if self._waiting:
                        ids = self._waiting.popleft()
                        self._spawn(partial(self._in_order, ids), ids)
                    elif calls := await self._next():
                        for call in calls:
                            self._spawn(call)
                    else:
                        break
            except StorageError:  # of an outage the ledger's writer warns, once
                await asyncio.sleep(self._timings.slot_check_s)
            except Exception:  # noqa: BLE001 - the loop goes on
                self._log.warning("the ledger cannot be asked for work", exc_info=True)
                await asyncio.sleep(self._timings.slot_check_s)

    async def _next(self) -> Sequence[Callable[[], Awaitable[None]]]:
        # Requests arrive while the ledger is asked: half of the slots are kept for them, unless there is a backlog.
        if not self._any_left:
            return ()
        self._asked = self._free if self._backlog else (self._free + 1) // 2
        self._any_left = False  # from here on: a job may come while the ledger is asked
        try:
            calls = await self._run.claim(self._asked, exclude=tuple(self._reserved))
            self._backlog = len(calls) == self._asked
        except BaseException:
            self._any_left = True
            raise
        finally:
            self._asked = 0
        self._any_left = self._any_left or bool(calls) or bool(self._reserved)
        return calls
