"""`./onward faults`: campaigns, one after the other."""

import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from onward.cli.progress_bar import bar
from tests.servers import Missing
from tests.system.faults import campaign, table
from tests.system.faults.installation import COMBINATIONS

NAMES = tuple(combination.name for combination in COMBINATIONS)
SEEDS = 1_000_000


class FaultsError(Exception):
    """The campaign cannot be run with these options; the message says what to do."""


def run(*, minutes: float, seed: int | None, rate: float, combinations: Sequence[str], file: Path) -> int:
    """Run campaigns; return 1 if a promise was broken. Writes the figures to the file, too. Raises FaultsError."""
    unknown = sorted({*combinations} - {*NAMES})
    if unknown:
        raise FaultsError(f"--combination takes {', '.join(NAMES)}; not {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started processes are ended
    seed = random.randrange(SEEDS) if seed is None else seed
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    started_s = time.monotonic()
    found = []
    for combination in COMBINATIONS:
        if combination.name not in (combinations or NAMES):
            continue
        console.print(f"{combination.name}: {minutes:g} minutes, seed {seed}, {rate:g} mutations a second")
        started = time.monotonic()
        try:
            with bar(combination.name, minutes * 60, done=lambda since=started: time.monotonic() - since):  # type: ignore[misc]
                figures = campaign.run(
                    combination,
                    minutes=minutes,
                    seed=seed,
                    rate=rate,
                    say=lambda words: console.print(f"{time.monotonic() - started_s:7.1f} {words}", markup=False),
                )
        except Missing as missing:
            raise FaultsError(f"{combination.name} {missing}") from missing
        found.append(figures)
        file.parent.mkdir(parents=True, exist_ok=True)
        campaign.save(found, file)  # after each: the next may be broken off
    table.show(found, console)
    console.print(f"more of it in {file}", soft_wrap=True)
    return 1 if any(one.breaches for one in found) else 0
