"""The commands of `onward jobs batch`. Each gives the exit code, as those of `onward jobs` do."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.table import Table

from onward.cli import job_text
from onward.cli.terminal import DONE, REFUSED, UNKNOWN, fail, ledger_of, out, writer_of
from onward.config.settings import Settings
from onward.jobs import batch_children, batches
from onward.jobs.base import BatchConflict, NotFound
from onward.jobs.batches import Batch
from onward.jobs.model import EVERYTHING
from onward.jobs.states import JobStatus
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx


def show(settings: Settings, batch_id: str, *, as_json: bool) -> int:
    """Print one batch."""
    with ledger_of(settings) as database:
        found = database.read_sync(partial(_look, batch_id=batch_id))
    if found is None:
        return _unknown(batch_id)
    _print(*found, as_json=as_json)
    return DONE


def list_newest(settings: Settings, limit: int, *, as_json: bool) -> int:
    """Print the newest batches that no other one holds: a table, or one JSON object on each line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("batch", "state", "created", "children", "followed by"):
        table.add_column(heading, no_wrap=heading != "children")
    with ledger_of(settings) as database:
        for batch in database.read_sync(partial(batches.newest, limit=limit)):
            counts = database.read_sync(partial(batch_children.counts, batch=batch))
            if as_json:
                print(json.dumps(_as_object(batch, counts)))
            else:
                created = job_text.moment(batch.created_at)
                table.add_row(batch.id, batch.state, created, _words(batch, counts), batch.next_job or "")
    if not as_json:
        out().print(table if table.row_count else "no batches")
    return DONE


def cancel(settings: Settings, batch_id: str, *, reason: str | None, as_json: bool) -> int:
    """Cancel a batch; the process that leads maintenance cancels the children."""
    return _command(settings, batch_id, partial(batches.cancel, reason=reason, visible=EVERYTHING), as_json=as_json)


def retry(settings: Settings, batch_id: str, *, as_json: bool) -> int:
    """Retry a batch; the process that leads maintenance queues the children."""
    return _command(settings, batch_id, partial(batches.retry, visible=EVERYTHING), as_json=as_json)


def _command(settings: Settings, batch_id: str, move: Callable[[Tx, str], Batch], *, as_json: bool) -> int:
    with writer_of(settings) as opened:
        try:
            batch = opened.run_sync(lambda tx: move(tx, batch_id), ALONE)
        except NotFound:
            return _unknown(batch_id)
        except BatchConflict as conflict:
            fail(f"{job_text.plain(batch_id)}: {conflict}")
            return REFUSED
        counts = opened.database.read_sync(partial(batch_children.counts, batch=batch))
    _print(batch, counts, as_json=as_json)
    return DONE


def _look(tx: Tx, batch_id: str) -> tuple[Batch, dict[JobStatus, int]] | None:
    batch = batches.get(tx, batch_id)
    return None if batch is None else (batch, batch_children.counts(tx, batch))


def _print(batch: Batch, counts: dict[JobStatus, int], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_as_object(batch, counts)))
        return
    then = f"; then {batch.next_job}" if batch.next_job else ""
    reason = f"; reason for cancelling: {job_text.plain(batch.reason)}" if batch.reason else ""
    print(f"{batch.id} {batch.state}: {_words(batch, counts)}{then}{reason}")


def _as_object(batch: Batch, counts: dict[JobStatus, int]) -> dict[str, Any]:
    """Return the batch as a JSON object, with the names that GraphQL has."""
    return {
        "id": batch.id,
        "state": batch.state.value,
        "reason": batch.reason,
        "done": batch.done,
        "total": batch.total,
        "counts": {status.value: n for status, n in counts.items() if n},
        "job": batch.job,
        "then": batch.next_job,
        "owner": batch.owner,
        "createdAt": job_text.iso(batch.created_at),
        "finishedAt": job_text.iso(batch.finished_at),
    }


def _words(batch: Batch, counts: dict[JobStatus, int]) -> str:
    found = ", ".join(f"{n} {status}" for status, n in counts.items() if n) or "no children"
    return f"{found}, of {batch.total}"


def _unknown(batch_id: str) -> int:
    fail(f"{job_text.plain(batch_id)}: there is no such batch")
    return UNKNOWN
