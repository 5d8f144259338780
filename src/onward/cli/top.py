"""The command `onward top`: the live figures of the installation on a terminal, and once into a pipe."""

from __future__ import annotations

import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.live import Live

from onward.cli import top_text
from onward.cli.terminal import DONE, ledger_of, out, redraws
from onward.cli.times import time_of
from onward.cli.top_figures import Figures, KeptBacklog, look
from onward.config.settings import Settings
from onward.jobs.stats import Span
from onward.storage.base import StorageError
from onward.storage.engine import Database
from onward.storage.transaction import Tx

Read = Callable[[Tx], Figures]


def show(settings: Settings, begin: str, *, interval_s: float, as_json: bool) -> int:
    """Show the figures, and again every interval until q or Ctrl-C. Raises ValueError for a begin that is none."""
    backlog = KeptBacklog()

    def read(tx: Tx) -> Figures:
        return look(tx, Span(time_of(begin, tx.now), tx.now), backlog)

    console = out()
    with ledger_of(settings) as database:
        figures = database.read_sync(read)
        if as_json:
            print(json.dumps(top_text.as_object(figures)))
        elif redraws(console):
            with suppress(KeyboardInterrupt):
                _follow(database, read, figures, console, interval_s)
        else:
            console.print(top_text.whole(figures))
    return DONE


def _follow(database: Database, read: Read, figures: Figures, console: Console, interval_s: float) -> None:
    """Show the figures on a screen of their own until q."""
    problem = ""
    with _keys() as ends, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(top_text.screen(figures, console, problem=problem), refresh=True)
            if ends(interval_s):
                return
            try:
                figures, problem = database.read_sync(read), ""
            except StorageError as error:  # the ledger may come back
                problem = str(error)


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Have standard input give single keys during the block, if it is a terminal.

    The yielded function waits so many seconds; it returns True at once if q is pressed.
    """
    if not sys.stdin.isatty():
        yield _wait
        return
    keyboard = sys.stdin.fileno()

    def ends(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([keyboard], [], [], left)[0]:
                keys = os.read(keyboard, 64)
                if not keys or b"q" in keys.lower():
                    return True
        return False

    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield ends
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False
