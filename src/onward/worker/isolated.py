"""A process of its own for jobs whose runners died."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from functools import partial

from onward import children
from onward.backends.base import Role
from onward.config.settings import Settings
from onward.jobs import ledger
from onward.runtime import wiring
from onward.runtime.event_loop import Loop
from onward.runtime.sqlite_copies import is_embedded


def run_isolated(settings: Settings, job_id: str, backend: str) -> int:
    """Run dangerous jobs in this process, one at a time and the given one first; print the runner's name before.

    One after another: many that died together, twice, would wait for as many starts of a process.
    """

    async def main() -> None:
        embedded = is_embedded(settings)
        async with wiring.run_process(settings, Role.RUN, isolated=True, embedded=embedded) as parts:
            # Nothing comes in but the end, when the parent is no more: whoever waits for the job is gone then.
            loop = asyncio.get_running_loop()

            def end() -> None:
                if not os.read(sys.stdin.fileno(), 4096):
                    loop.remove_reader(sys.stdin.fileno())
                    tasks.append(asyncio.ensure_future(parts.drain()))

            children.default_signals_in_forks()
            tasks: list[asyncio.Future[None]] = []
            loop.add_reader(sys.stdin.fileno(), end)
            for number in children.stop_signals():
                loop.add_signal_handler(number, lambda: tasks.append(asyncio.ensure_future(parts.drain())))
            try:
                os.write(sys.stdout.fileno(), f"{parts.lease.id}\n".encode())
            except BrokenPipeError:
                return  # the parent is gone, and with it who would tell of this process's death; the job waits
            wanted, done = job_id, ""
            while wanted and wanted != done and not tasks:
                if await parts.runner.run(wanted, backend):
                    job = await parts.database.read(partial(ledger.get, job_id=wanted))
                    if job is not None and job.done:
                        # Its parent counts it: this process's own figures are asked by nobody.
                        with suppress(BrokenPipeError):
                            ended = f"\n{parts.lease.id} ended {job.handler} {job.status}\n"
                            os.write(sys.stdout.fileno(), ended.encode())
                wanted, done = await parts.runner.next_isolated(backend) or "", wanted

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    return 0
