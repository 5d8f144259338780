"""The commands of `onward workers`. Each function gives the exit code, as those of `onward jobs` do."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from onward.cli.job_text import moment, plain
from onward.cli.terminal import DONE, REFUSED, UNKNOWN, fail, ledger_of, out, writer_of
from onward.config.settings import Settings
from onward.jobs import workers
from onward.jobs.base import NotFound, WorkerRefused
from onward.jobs.model import to_datetime
from onward.jobs.workers import Worker
from onward.storage.lock_order import PROCESSES

MEGABYTE = 1_000_000


def list_all(settings: Settings, *, as_json: bool) -> int:
    """Print the processes: a table, or one JSON object on each line."""
    with ledger_of(settings) as database:
        found = database.read_sync(workers.all_workers)
    if as_json:
        for worker in found:
            print(json.dumps(_as_object(worker)))
        return DONE
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("worker", "name", "role", "version", "started", "queues", "running", "memory", "state"):
        table.add_column(heading, no_wrap=True)
    for worker in found:
        table.add_row(*(Text(plain(cell)) for cell in _cells(worker)))
    out().print(table if found else "no process runs")
    return DONE


def drain(settings: Settings, ids: Sequence[str], *, as_json: bool) -> int:
    """Have worker processes drain and end; 1 where one would not end by itself, 3 for an unknown id."""
    worst = DONE
    with writer_of(settings) as writer:
        for one in ids:
            try:
                worker = writer.run_sync(lambda tx, one=one: workers.drain(tx, one), PROCESSES)  # type: ignore[misc]
            except NotFound:
                fail(f"{plain(one)}: there is no such worker; `onward workers` lists them")
                worst = max(worst, UNKNOWN)
            except WorkerRefused as refused:
                fail(f"{plain(one)}: {refused}")
                worst = max(worst, REFUSED)
            else:
                print(json.dumps(_as_object(worker)) if as_json else f"{one} drains")
    return worst


def _as_object(worker: Worker) -> dict[str, object]:
    """Return the process as a JSON object, with the names that GraphQL has."""
    return {
        "id": worker.id,
        "name": worker.name,
        "role": worker.role,
        "version": worker.version,
        "startedAt": to_datetime(worker.started_at).isoformat(),
        "running": worker.running,
        "memoryBytes": worker.memory_bytes,
        "queues": worker.queues,
        "draining": worker.draining,
    }


def _cells(worker: Worker) -> tuple[str, ...]:
    memory = "" if worker.memory_bytes is None else f"{worker.memory_bytes // MEGABYTE} MB"
    started = moment(worker.started_at)
    queues = "unknown" if worker.queues is None else ",".join(worker.queues) or "none"
    state = "draining" if worker.draining else ""
    return worker.id, worker.name, worker.role, worker.version, started, queues, str(worker.running), memory, state
