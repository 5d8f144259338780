"""Named points at every write: before its commit, after it, and around what leaves the process.

A process that was started with a point armed ends there, as if killed, and says so in a file first. The points are set
from outside, by the harness's launcher: the program knows nothing of them.
"""

# mypy: disable-error-code="assignment, method-assign"

import asyncio
import functools
import os
import signal
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

POINT = "FAULTS_POINT"  # the name of the armed one
VISITS = "FAULTS_VISITS"  # the file in which a visit is noted

WRITES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "accept": ("onward.jobs.ledger", "accept"),
        "register": ("database.users", "add"),
        "remember": ("onward.jobs.idempotency", "remember"),
        "claim": ("onward.jobs.claims", "claim"),
        "claim due": ("onward.jobs.claims", "claim_due"),
        "step done": ("onward.jobs.recording", "finish_step"),
        "report": ("onward.jobs.recording", "report_progress"),
        "outcome": ("onward.jobs.recording", "record_outcome"),
        "hand back": ("onward.jobs.recovery", "release_runner"),
        "reclaim": ("onward.jobs.recovery", "reclaim_dead"),
        "promote": ("onward.jobs.due", "promote_due"),
        "end wait": ("onward.jobs.waits", "end_due"),
        "signal": ("onward.jobs.waits", "signal"),
        "confirm": ("onward.jobs.due", "confirm"),
        "invalidate": ("onward.jobs.due", "invalidate_deliveries"),
        "reroute": ("onward.jobs.due", "reroute"),
        "cancel": ("onward.jobs.commands", "cancel"),
        "retry": ("onward.jobs.commands", "retry"),
    }
)
GROUPED: Mapping[str, tuple[str, str]] = MappingProxyType(  # the same for several jobs, by one statement
    {
        "claim": ("onward.jobs.claims", "claim_each"),
        "step done": ("onward.jobs.recording", "finish_each"),
        "outcome": ("onward.jobs.recording", "record_each"),
    }
)
STATEMENTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "item": ("database.items", "_insert"),
        "beat": ("onward.jobs.leases", "_beat"),
        "expand": ("onward.jobs.dispatched", "_delete"),
    }
)
WHEN = ("before the commit", "after the commit")
WRAPPED_CALLS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "message": ("onward.backends.redis_broker", "Broker", "enqueue_many"),
        "mail": ("onward.mail.mailer", "FileMailer", "_write"),
        "line": ("onward.handlers.journal", "JsonLines", "append"),
        "answer": ("onward.api.view", "View", "__call__"),
    }
)


def names() -> list[str]:
    """Return every failpoint."""
    writes = [f"{when} of {write}" for write in (*WRITES, *STATEMENTS) for when in WHEN]
    return [*writes, *(f"{when} {what}" for what in WRAPPED_CALLS for when in ("before", "after"))]


def install() -> None:
    """Set the armed failpoint in this process."""
    for write, (module, function) in (*WRITES.items(), *GROUPED.items()):
        _mark(import_module(module), function, write)
    for write, place in STATEMENTS.items():
        _mark_statement(write, place)
    _around_commit()
    armed = os.environ[POINT]
    for what, (module, owner, function) in WRAPPED_CALLS.items():
        if armed.endswith(f" {what}") and "commit" not in armed:
            place = getattr(import_module(module), owner)
            (_around_answer if what == "answer" else _around)(place, function, what)


def visit(name: str) -> None:
    """End the process here if this is the armed failpoint."""
    if name == os.environ[POINT]:
        with Path(os.environ[VISITS]).open("a") as file:
            file.write(f"{name}\n")
        os.kill(os.getpid(), signal.SIGKILL)


def _mark(module: Any, function: str, name: str) -> None:
    original: Callable[..., Any] = getattr(module, function)

    @functools.wraps(original)
    def marked(tx: Any, *arguments: Any, **named: Any) -> Any:
        result = original(tx, *arguments, **named)
        if result or result is None:  # a claim that found nothing writes nothing
            _marks(tx).add(name)
        return result

    setattr(module, function, marked)


def _mark_statement(name: str, place: tuple[str, str]) -> None:
    from onward.storage.transaction import Tx

    statement, original = getattr(import_module(place[0]), place[1]), Tx._run

    def run(self: Tx, asked: Any, params: dict[str, Any]) -> Any:
        if asked is statement:
            _marks(self).add(name)
        return original(self, asked, params)

    Tx._run = run


def _marks(tx: Any) -> set[str]:
    found: set[str] = tx.__dict__.setdefault("marks", set())
    return found


def _around_commit() -> None:
    from onward.storage.transaction import Tx

    original = Tx.raw

    def raw(self: Tx, sql: str) -> None:
        marks = sorted(_marks(self)) if sql == "COMMIT" else []
        for mark in marks:
            visit(f"before the commit of {mark}")
        original(self, sql)
        for mark in marks:
            visit(f"after the commit of {mark}")

    Tx.raw = raw


def _around(owner: Any, function: str, name: str) -> None:
    original = getattr(owner, function)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        visit(f"before {name}")
        result = original(*arguments, **named)
        visit(f"after {name}")
        return result

    setattr(owner, function, wrapped)


def _around_answer(owner: Any, function: str, name: str) -> None:
    original = getattr(owner, function)

    async def wrapped(self: Any, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                visit(f"before {name}")
            await send(message)
            if message["type"] == "http.response.body":
                await asyncio.sleep(0.02)  # the bytes have left
                visit(f"after {name}")

        await original(self, scope, receive, sending)

    setattr(owner, function, wrapped)
