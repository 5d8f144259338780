"""Handlers that run in a process of their own, or die with the process that runs them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onward.backends.base import Backend, Defer, Delivery, Run
from onward.handlers.base import InvalidParameters, JobContext, Retry, handler
from onward.mail.message import compose, mailbox

ONCE = Retry(max_attempts=1)


@handler("apart.mail", process=True, retry=ONCE)
async def mail(job: JobContext, *, to: str) -> int:
    sender = job.tools.mailer.sender
    message = compose(id=job.id, sender=sender, recipient=mailbox(to), subject="Hello", text="Hello.", html="<p>Hello.")
    await job.tools.mailer.send(message)
    return os.getpid()


@handler("apart.pay", secret=frozenset({"card"}), retry=ONCE)
async def pay(job: JobContext, *, card: str) -> dict[str, Any]:
    return {"pid": os.getpid(), "digits": len(card), "child": job.dispatch("apart.routed")}


@handler("apart.routed", retry=ONCE)
async def routed(job: JobContext) -> None: ...


@handler("apart.keep", retry=ONCE)
async def keep(job: JobContext, *, folder: Path, names: set[str], limit: Any = 5) -> list[Any]:
    return [type(folder).__name__, str(folder), sorted(names), limit]


@handler("apart.sends", process=True, retry=ONCE)
def sends(job: JobContext) -> str:
    """Dispatch a job whose parameters are of types that JSON does not know."""
    try:
        job.dispatch(keep.job(folder=Path("inbox"), names=set(), limit=2**70))
    except InvalidParameters as error:
        if error.errors != [("limit", "is a number beyond 64 bits")]:
            raise
    return job.dispatch(keep.job(folder=Path("inbox"), names={"ada", "grace"}))


@handler("apart.environment", process=True, retry=ONCE)
def environment(job: JobContext) -> str:
    return "\n".join(f"{name}={value}" for name, value in os.environ.items())


class Client:
    """An object that only code can give to a backend."""

    def __init__(self) -> None:
        self.sent: list[str] = []


class Mine(Backend):
    """A backend that delivers to its client."""

    runs_elsewhere = False

    def __init__(self, run: Run, client: Client) -> None:
        self._run = run
        self._send = client.sent.append

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        for delivery in deliveries:
            self._send(delivery.job_id)
