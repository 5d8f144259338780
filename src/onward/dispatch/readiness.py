"""The readiness of a process: the ledger answers, for reads and for writes, and each backend does."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from onward.dispatch.dispatcher import Dispatcher
from onward.storage.base import FileReplaced, Unavailable
from onward.storage.writer import Writer

PROBE_TIMEOUT_S = 3.0
FILE_REPLACED = "its file was moved, deleted or replaced while in use; the log names it"
DISK_FULL = "its disk is full, and nothing is written: free some space"


class Readiness(NamedTuple):
    """The answer to a probe, and a report for people, without addresses."""

    ready: bool
    report: dict[str, Any]


async def readiness(writer: Writer, dispatcher: Dispatcher, *, out_of_threads: bool) -> Readiness:
    """Ask the ledger and the backends; answers within seconds."""
    ledger = await _ledger_works(writer)
    health = {name: dispatcher.health_of(name) for name in dispatcher.backends}  # without the count of what waits
    backends = {name: one.reachable for name, one in health.items()}
    reasons = {name: one.reason for name, one in sorted(health.items()) if one.reason}
    if _file_is_replaced(writer):
        reasons["ledger"] = FILE_REPLACED
    elif writer.disk_is_full:
        reasons["ledger"] = DISK_FULL
    fine = ledger and all(backends.values()) and not out_of_threads
    report = {
        "status": "ok" if fine else "unavailable",
        "ledger": _word(up=ledger),
        "backends": {name: _word(up=up) for name, up in sorted(backends.items())},
        "threads": "exhausted" if out_of_threads else "ok",
        **({"reasons": reasons} if reasons else {}),
    }
    return Readiness(fine, report)


def _word(*, up: bool) -> str:
    return "ok" if up else "unreachable"


async def _ledger_works(writer: Writer) -> bool:
    """True if the ledger can be read, and its last write succeeded: a full disk still allows reads."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await writer.database.read(lambda tx: tx.now)
    except (Unavailable, TimeoutError):
        return False
    return not writer.failing and not _file_is_replaced(writer)


def _file_is_replaced(writer: Writer) -> bool:
    try:
        writer.database.driver.verify()
    except FileReplaced:
        return True
    return False
