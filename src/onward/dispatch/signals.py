"""Sends a signal to a job: checks it, commits it, and delivers the job whose wait it ends."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from onward.dispatch.dispatcher import Dispatcher
from onward.handlers.base import Handler
from onward.jobs import ledger, waits
from onward.storage import lock_order
from onward.storage.writer import Writer


async def send(
    job_id: str,
    name: str,
    payload: Any,
    *,
    handlers: Mapping[str, Handler],
    dispatcher: Dispatcher,
    writer: Writer,
    sender: waits.Sender = waits.THE_PROGRAM,
    run: int | None = None,
) -> None:
    """Send the signal, to the job in whichever run it is, or in that run alone.

    Raises NotFound, NotAllowed, InvalidParameters, Conflict, Unavailable.
    """
    found = await writer.database.read(partial(ledger.get, job_id=job_id))
    stored = waits.checked(found, name, payload, handlers=handlers, sender=sender)
    route = dispatcher.route
    keep = partial(waits.signal, job_id=job_id, name=name, stored=stored, route=route, sender=sender, run=run)
    job = await writer.run(keep, lock_order.job(job_id))
    await dispatcher.deliver([job], after_response=dispatcher.defer)
