"""The commands of `onward jobs batch`. Each gives the exit code, as those of `onward jobs` do."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from onward.cli import job_text
from onward.cli.terminal import DONE, REFUSED, UNKNOWN, fail, ledger_of, writer_of
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
    found = {status.value: n for status, n in counts.items() if n}
    if as_json:
        shown: dict[str, Any] = {
            "id": batch.id,
            "state": batch.state.value,
            "done": batch.done,
            "total": batch.total,
            "counts": found,
            "then": batch.next_job,
        }
        print(json.dumps(shown))
        return
    words = ", ".join(f"{n} {status}" for status, n in found.items()) or "no children"
    then = f"; then {batch.next_job}" if batch.next_job else ""
    print(f"{batch.id} {batch.state}: {words}, of {batch.total}{then}")


def _unknown(batch_id: str) -> int:
    fail(f"{job_text.plain(batch_id)}: there is no such batch")
    return UNKNOWN
