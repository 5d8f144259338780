"""Claims jobs for a process: by id, when a delivery comes, and from the line."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from onward.jobs import claims, concurrency, due
from onward.jobs.control import Control
from onward.jobs.leases import Lease
from onward.jobs.model import Job
from onward.jobs.timings import Timings
from onward.storage import lock_order
from onward.storage.base import StorageError
from onward.storage.lock_order import LAST
from onward.storage.transaction import Tx
from onward.storage.writer import Grouped, Writer


class Due(NamedTuple):
    """Work that a process has found: jobs that it has claimed, and the id of one that has to run isolated."""

    jobs: Sequence[Job] = ()
    isolated: str | None = None


class Claimer:
    """Claims jobs under the lease of a process. One that is `isolated` claims jobs that crash their process, too."""

    def __init__(
        self,
        writer: Writer,
        lease: Lease,
        control: Control,
        timings: Timings,
        *,
        takes: Collection[str],
        isolated: bool,
    ) -> None:
        self._writer = writer
        self._lease = lease
        self._control = control
        self._timings = timings
        self._takes = takes  # destinations
        self._isolated = isolated
        self.any_limits = True  # whether any handler had limits at the last check
        self._check_limits_at = 0.0

    async def claim(self, job_id: str, backend: str) -> Job | str | None:
        """Claim the job; return its destination if it has to run isolated, None if it cannot be claimed.

        A job of another destination is claimed there, or delivered once more where this process does not take its
        queue: a backend may mix the messages of all queues, and an old message comes late. Raises Unavailable.
        """
        claim = partial(self._claim, job_id=job_id, backend=backend)
        return await self._writer.run(claim, lock_order.job(job_id), Grouped(self._claim_each, (job_id, backend)))

    def _claim_each(self, tx: Tx, delivered: Sequence[tuple[str, str]]) -> list[Job | str | None]:
        """Do as `_claim` for each job and its backend."""
        runner, worker = self._lease.id, self._lease.name
        found: dict[str, Job] = {}
        ids = [job_id for job_id, _ in delivered]
        for name in dict.fromkeys(backend for _, backend in delivered):
            claimed = claims.claim_each(tx, ids, runner=runner, worker=worker, backend=name, isolated=self._isolated)
            found |= {job.id: job for job in claimed}
        # The others by themselves, and so the second delivery of a job; all are locked by now.
        return [found.pop(job_id, None) or self._claim(tx, job_id=job_id, backend=name) for job_id, name in delivered]

    def _claim(self, tx: Tx, *, job_id: str, backend: str) -> Job | str | None:
        runner, worker = self._lease.id, self._lease.name
        job = claims.claim(tx, job_id, runner=runner, worker=worker, backend=backend, isolated=self._isolated)
        if job is not None:
            return job
        there, isolated = claims.in_line(tx, job_id)
        if there is None or there == backend:
            return there if isolated else None
        if there in self._takes:
            return self._claim(tx, job_id=job_id, backend=there)
        due.give_back(tx, job_id)
        return None

    async def give_back(self, job_id: str) -> None:
        """Have a job delivered again that arrived at a process which drains, or is not for it. Raises Unavailable."""
        await self._writer.run(partial(due.give_back, job_id=job_id), lock_order.job(job_id))

    async def any_due(self, backend: str) -> bool:
        """True if `claim_due` may find a job. Raises Unavailable."""
        grace_us = round(self._timings.local_claim_grace_s * 1_000_000)
        any_due = partial(claims.any_due, runner=self._lease.id, backend=backend, grace_us=grace_us)
        return await self._writer.database.read(any_due)

    async def claim_due(
        self, backend: str, limit: int, *, exclude: Collection[str], isolated: Callable[[str], bool] | None
    ) -> Due:
        """Claim up to `limit` queued jobs of the backend, without those in `exclude`. Raises Unavailable.

        One that has to run isolated, and that `isolated` accepts, is the first of them.
        """
        found: list[Job] = []
        apart: str | None = None
        again = True
        while again and len(found) < limit:
            # Most installations have no limits: nearly every claim is spared the question.
            check_limits = self.any_limits or time.monotonic() >= self._check_limits_at
            claim = partial(
                self._claim_due,
                backend=backend,
                limit=limit - len(found),
                exclude=exclude,
                check_limits=check_limits,
                isolated=isolated,
            )
            isolated = None
            try:
                (more, first), again, any_limits = await self._writer.run(claim, LAST)
            except StorageError:
                if not found:
                    raise
                break
            if check_limits:
                self.any_limits = any_limits
                self._check_limits_at = time.monotonic() + self._timings.blocked_check_s
            self._control.claimed(more)
            found += more
            if first is not None:
                apart, limit = first, limit - 1
        return Due(found, apart)

    def _claim_due(
        self,
        tx: Tx,
        *,
        backend: str,
        limit: int,
        exclude: Collection[str],
        check_limits: bool,
        isolated: Callable[[str], bool] | None,
    ) -> tuple[Due, bool, bool]:
        """Claim jobs, and return them, whether there may be more, and whether any handler has limits."""
        # Ahead of all others: a lasting backlog would leave it no slot.
        apart = claims.next_isolated(tx, backend=backend) if isolated is not None else None
        if apart is not None and isolated is not None and not isolated(apart):
            apart = None
        limit -= apart is not None
        line: dict[str, Any] = {
            "runner": self._lease.id,
            "worker": self._lease.name,
            "backend": backend,
            "exclude": exclude,
            "grace_us": round(self._timings.local_claim_grace_s * 1_000_000),
        }
        found = claims.claim_due(tx, limit=limit, **line) if limit else []
        any_limits = check_limits and concurrency.any_limits(tx)
        if not any_limits or len(found) == limit:
            return Due(found, apart), False, any_limits
        more, changed = claims.claim_limited(tx, limit=limit - len(found), **line)
        return Due([*found, *more], apart), changed, any_limits

    async def next_isolated(self, backend: str) -> str | None:
        """Return the id of a job of the backend that has to run isolated. Raises Unavailable."""
        return await self._writer.database.read(partial(claims.next_isolated, backend=backend))
