"""Starts the program with the faults that the environment names: a failpoint, or a wrong clock."""

import datetime as dt
import os
import sys
import time
from typing import Any

from tests.system.faults import failpoints

CLOCK_S = "FAULTS_CLOCK_S"  # by how many seconds this process's clock is ahead


def main(arguments: list[str]) -> None:
    if CLOCK_S in os.environ:
        set_clock(float(os.environ[CLOCK_S]))
    if failpoints.POINT in os.environ:
        failpoints.install()
    from onward.cli import main as cli

    cli.program()(arguments, prog_name="onward")


def set_clock(ahead_s: float) -> None:
    """Set every clock of this process that can be set ahead, SQLite's too, which is the ledger's."""
    import sqlalchemy as sa

    from onward.storage import sqlite
    from onward.storage.tables import commits

    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + ahead_s
    time.time_ns = lambda: now_ns() + int(ahead_s * 1e9)

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return dt.datetime.fromtimestamp(time.time(), tz)

    for name in ("handlers.logging", "onward.mail.message", "onward.dispatch.dispatcher"):
        __import__(name)
        if hasattr(sys.modules[name], "datetime"):
            setattr(sys.modules[name], "datetime", Clock)  # noqa: B010 - mypy
    words = f"CAST(unixepoch('subsec') * 1000000 AS INTEGER) + {int(ahead_s * 1e6)}"
    sqlite.BEGIN = sa.update(commits).values(n=commits.c.n + 1).returning(commits.c.n, sa.literal_column(words))
    sqlite.SQLite.clock = sa.text(f"SELECT {words}")


if __name__ == "__main__":
    main(sys.argv[1:])
