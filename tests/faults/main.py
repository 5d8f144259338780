"""`./onward faults`: campaigns, one after the other."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.faults import campaign, table
from tests.faults.site import COMBINATIONS


def main(arguments: list[str]) -> int:
    """1 where a promise was broken."""
    names = [combination.name for combination in COMBINATIONS]
    parser = argparse.ArgumentParser(prog="onward faults")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=campaign.RATE)
    parser.add_argument("--combination", action="append", choices=names)
    parser.add_argument("--json", type=Path, default=Path("var/faults.json"))
    given = parser.parse_args(arguments)
    console = Console()
    begun = time.monotonic()
    found = []
    for combination in COMBINATIONS:
        if combination.name in (given.combination or names):
            console.print(f"{combination.name}, seed {given.seed}")
            found.append(
                campaign.run(
                    combination,
                    minutes=given.minutes,
                    seed=given.seed,
                    rate=given.rate,
                    say=lambda words: console.print(f"{time.monotonic() - begun:7.1f} {words}", markup=False),
                )
            )
    table.show(found, console)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    campaign.save(found, given.json)
    return 1 if any(one.breaches for one in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
