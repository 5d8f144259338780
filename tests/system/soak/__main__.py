"""`python -m tests.system.soak [--minutes 30] [--combination background+sqlite]`, on Linux: prints a table.

Exits with 1 if something grows, or if a count is wrong.
"""

import argparse
import json
import random
import signal
import sys
from pathlib import Path

from tests.system.soak.soak import COMBINATIONS, Report, run

SETTLED = 1 / 3  # of the time: the tenth minute of thirty


def table(report: Report) -> str:
    """Return the report as Markdown."""
    counts = report.counts
    title = (
        f"{report.combination}, {report.minutes:g} minutes: {report.operations:,} operations,"
        f" {counts['accepted']:,} jobs, {report.retried:,} retried by hand, {counts['pruned']:,} pruned,"
        f" {counts['SUCCEEDED']:,} times SUCCEEDED, {counts['FAILED']:,} FAILED, {counts['CANCELLED']:,} CANCELLED;"
        f" {report.streams.total():,} subscriptions"
    )
    lines = [
        title,
        "",
        "| quantity | at first | at last | slope an hour | +- | bound | |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in report.verdicts:
        figures = f"{one.first:,.1f} | {one.last:,.1f} | {one.per_hour:+,.1f} | {one.uncertainty:,.1f}"
        verdict = "flat" if one.passed else "GROWS"
        lines.append(f"| {one.name} | {figures} | {one.bound.per_hour:,g} | {verdict} |")
    return "\n".join([*lines, *(f"WRONG: {words}" for words in report.wrong[:50]), ""])


def main(words: list[str] | None = None) -> int:
    """Run the soaks one after the other; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="the time under load, of each combination")
    parser.add_argument("--rate", type=float, default=60.0, help="operations a second")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--combination", choices=COMBINATIONS, action="append", help="by default all")
    parser.add_argument("--samples", type=Path, help="a file for all samples, as JSON")
    options = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that whatever was started is ended
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    failed, found = False, {}
    for combination in options.combination or COMBINATIONS:
        print(f"{combination}, seed {seed}", flush=True)  # noqa: T201
        report = run(
            combination,
            minutes=options.minutes,
            settle_s=options.minutes * 60 * SETTLED,
            rate=options.rate,
            seed=seed,
            say=lambda words: print(words, flush=True),  # noqa: T201
        )
        print(table(report), flush=True)  # noqa: T201
        found[combination] = report.samples
        if options.samples is not None:
            options.samples.write_text(json.dumps(found), "utf-8")
        failed = failed or not report.passed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
