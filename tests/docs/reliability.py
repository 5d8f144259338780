"""The figures of the reliability page: `python -m tests.docs.reliability FILE ...` takes them from campaigns."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.processes import ROOT

PAGE = ROOT / "docs" / "reliability.md"
FIGURES = ROOT / "docs" / "reliability.json"
HEAD = "| combination |"


def rows(figures: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return a row of the page's table for each campaign."""
    for one in figures:
        kills = sum(n for name, n in one["faults"].items() if name.startswith("kill"))
        shown = (
            one["combination"],
            f"{one['minutes']:g}",
            one["seed"],
            f"{one['jobs']:,}",
            f"{one['unanswered']:,}",
            sum(one["faults"].values()),
            kills,
            one["lost"],
            one["finished_run_again"],
            one["steps_run_twice"],
            f"{one['rescue_max_s']:.1f} s",
            f"{one['rescue_p95_s']:.1f} s",
            f"{one['delivery_after_outage_max_s']:.1f} s" if one["delivery_after_outage_max_s"] else "",
        )
        yield f"| {' | '.join(map(str, shown))} |".replace("|  |", "| |")


def table(page: str) -> list[str]:
    """Return the rows of the page's table of figures, without its head."""
    lines = page.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(HEAD)) + 2
    return lines[start : next(n for n in range(start, len(lines)) if not lines[n].startswith("|"))]


def main(files: Sequence[str]) -> None:
    """Write exactly these campaigns to the page and the file beside it."""
    figures = [one for file in files for one in json.loads(Path(file).read_text("utf-8"))]
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    page = PAGE.read_text("utf-8")
    before, after = "\n".join(table(page)), "\n".join(rows(figures))
    PAGE.write_text(page.replace(before, after, 1), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
