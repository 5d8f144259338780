"""Controls the running jobs of a process: cancels, lost claims, the drain, and orphaned claims."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from onward.jobs import claims, recovery
from onward.jobs.leases import Lease
from onward.jobs.model import Job
from onward.jobs.row import Claim
from onward.jobs.running import Running, StopReason
from onward.jobs.timings import Timings
from onward.storage import lock_order
from onward.storage.base import StorageError
from onward.storage.batches import in_batches, in_slices
from onward.storage.writer import Writer
from onward.telemetry import logger

OUTAGE_CHECK_S = 0.1
CANCELLED = (
    "a handler, or other code of this process, has cancelled tasks that it did not start, and with them Onward's:"
    " cancel your own tasks only, and none of asyncio.all_tasks()"
)


class Control:
    """The claims of a process, and their interruption."""

    def __init__(
        self, writer: Writer, lease: Lease, timings: Timings, *, on_cancelled: Callable[[], None] = lambda: None
    ) -> None:
        """`on_cancelled` is called where other code has cancelled the tasks of this process."""
        self._on_cancelled = on_cancelled
        self._writer = writer
        self._lease = lease
        self._timings = timings
        self._running: dict[Claim, Running] = {}  # a lost claim may go on for a while beside a new one of its job
        self._claimed: set[Claim] = set()  # claimed, and not running yet
        self._idle = asyncio.Event()
        self._resuming: set[asyncio.Task[None]] = set()
        self._cancellations: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.draining = False
        self.closing = False  # tasks are cancelled from now on, since the process comes to its end
        self._log = logger("runner")

    @property
    def busy(self) -> int:
        """Return the number of running jobs."""
        return len(self._running)

    @property
    def running(self) -> list[Running]:
        return list(self._running.values())

    def start(self) -> None:
        """Watch the claims of this process. From its event loop."""
        self._loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._release_orphans(), name="claims")
        watching.add_done_callback(self._ended)
        self._tasks.append(watching)

    def _ended(self, _watching: asyncio.Task[None]) -> None:
        """Say so if other code has cancelled this task: others, of which nobody would know, are cancelled with it."""
        if not self.closing:
            running = sorted({f"{one.handler} {one.id}" for one in self.running})
            self._log.critical(CANCELLED, running=running)
            self._on_cancelled()

    def claimed(self, jobs: Iterable[Job]) -> None:
        """Expect these claims to run soon."""
        self._claimed.update(map(_claim, jobs))

    def runs(self, running: Running) -> bool:
        return _claim(running.job) in self._running

    def begin(self, running: Running) -> None:
        """Have the job interrupted when it should stop, until `end`."""
        claim = _claim(running.job)
        self._claimed.discard(claim)
        self._running[claim] = running
        if self._cancellations is None or self._cancellations.done():
            self._cancellations = asyncio.create_task(self._poll_cancellations(), name="cancels")

    def end(self, running: Running) -> None:
        """Stop watching the job, which has ended."""
        del self._running[_claim(running.job)]
        if not self._running:
            self._idle.set()

    def lost(self, renew: Callable[[str], None]) -> None:
        """Resume the claims of an earlier lease, or interrupt their jobs. From any thread.

        `renew` is called with the new runner's id, on the event loop.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._resume_lost, renew)

    def _resume_lost(self, renew: Callable[[str], None]) -> None:
        renew(self._lease.id)
        for running in self._running.values():
            if running.job.runner != self._lease.id:
                task = asyncio.create_task(self._resume_or_interrupt(running), name="resume")
                self._resuming.add(task)
                task.add_done_callback(self._resuming.discard)

    async def _resume_or_interrupt(self, running: Running) -> None:
        with suppress(StorageError):
            if await self.resume(running):
                self._log.info("the claim was still the newest one, and goes on", job=running.id)
                return
        running.interrupt(StopReason.LOST)

    async def resume(self, running: Running) -> bool:
        """Claim the job again under this lease; False if it is over or has a newer claim. Raises Unavailable."""
        before = running.job
        runner, worker = self._lease.id, self._lease.name
        after = await self._writer.run(
            lambda tx: recovery.resume(tx, before, runner=runner, worker=worker), lock_order.job(before.id)
        )
        if running.job is not before:
            return running.stop is not StopReason.LOST  # resumed meanwhile
        if after is None:
            return False
        if self._running.pop(_claim(before), None) is not None:
            self._running[_claim(after)] = running
        running.job = after
        return True

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Let a loop go on after an outage, of which the ledger's writer warns, and after any other error."""
        try:
            yield
        except StorageError:
            pass
        except Exception:  # noqa: BLE001 - it is in the log
            self._log.exception("claims cannot be read")

    async def _poll_cancellations(self) -> None:
        """Interrupt jobs that are to be cancelled, as long as any job runs."""
        while self._running:
            await asyncio.sleep(self._timings.cancellation_poll_s)
            with self._going_on():
                for claim in await self._writer.database.read(partial(claims.cancelling, runner=self._lease.id)):
                    if claim in self._running:
                        self._running[claim].interrupt(StopReason.CANCEL)

    async def _release_orphans(self) -> None:
        """Release claims of this process that it does not run, for example after a commit whose answer was lost."""
        before: set[Claim] = set()
        while True:
            await asyncio.sleep(self._timings.orphan_check_s)
            runner = self._lease.id
            with self._going_on():
                held = await self._writer.database.read(partial(claims.held_by, runner=runner))
                orphans = held - self._running.keys() - self._claimed
                if confirmed := orphans & before:  # seen twice: one that was claimed a moment ago is about to run
                    self._log.warning("claims without a run are handed back", jobs=[claim.id for claim in confirmed])
                    await self._release(sorted(confirmed), runner)
                before = orphans

    async def _release(self, claims: Sequence[Claim], runner: str) -> None:
        release = partial(recovery.release, runner=runner)
        async for _ in in_slices(self._writer, claims, release, most=recovery.ROWS):
            pass

    async def _clear_affinity(self) -> None:
        with suppress(StorageError):
            await in_batches(self._writer, partial(recovery.clear_affinity, runner=self._lease.id), most=recovery.ROWS)

    async def drain(self, deadline_s: float) -> None:
        """Wait until running jobs finish their step, and interrupt them just before the deadline."""
        self.draining = True
        self._tasks.append(asyncio.create_task(self._clear_affinity(), name="affinity"))
        try:
            async with asyncio.timeout(max(deadline_s - 1.0, deadline_s / 2)):
                await self._until_idle_or_outage()
        except TimeoutError:
            for running in self._running.values():
                running.interrupt(StopReason.DRAIN)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, deadline_s / 2)):
                    await self._until_idle()

    async def _until_idle_or_outage(self) -> None:
        """Wait until no job runs, or until none can be recorded: all have ended, and the ledger stays away."""
        away_since: float | None = None
        while self._running:
            self._idle.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), OUTAGE_CHECK_S)
            if not self._writer.failing or not all(running.recording for running in self._running.values()):
                away_since = None
            elif away_since is None:
                away_since = time.monotonic()
            elif time.monotonic() - away_since > self._timings.outage_grace_s:
                self._log.warning(
                    "the ledger is away: what has ended is not recorded", jobs=[claim.id for claim in self._running]
                )
                return

    async def _until_idle(self) -> None:
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    def close(self) -> None:
        """Stop watching the claims."""
        self.closing = True
        for task in (*self._tasks, *([self._cancellations] if self._cancellations else [])):
            task.cancel()


def _claim(job: Job) -> Claim:
    return Claim(job.id, job.fencing_token)
