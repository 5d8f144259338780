"""The results, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.base import Measured, Row

_UNITS = {
    "p50_ms": "p50 {:.1f} ms",
    "p99_ms": "p99 {:.1f} ms",
    "mean_ms": "mean {:.1f} ms",
    "block_ms": "loop blocked {:.0f} ms",
    "cpu_us": "{:.0f} us CPU each",
    "db_us": "{:.0f} us of PostgreSQL's",
    "drain_s": "drained in {:.1f} s",
    "empty_mb": "empty {:.0f} MB",
}


def shown(rows: Sequence[Row], console: Console) -> None:
    """Return a line a row: medians, the rounds' spread, the ratio, and whether it reaches the target."""
    table = Table(title="Onward beside its rivals: medians, and the spread of the rounds")
    for heading in ("", "figure", "Onward", "beside it", "rival", "its figure", "beside it", "ratio", "reach"):
        table.add_column(heading, justify="right" if heading in ("Onward", "its figure", "ratio", "reach") else "left")
    for row in rows:
        rival = row.rival
        table.add_row(
            row.figure,
            row.what,
            _value(row.ours, row.unit),
            _beside(row.ours),
            rival.name if rival else "-",
            _value(rival, row.unit) if rival else "-",
            _beside(rival) if rival else "",
            f"{row.ratio:.2f}" if row.ratio is not None else "-",
            _reach(row),
            style=None if row.holds(row.reach) else "yellow",
        )
    console.print(table)


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the same as a table for a page."""
    lines = [
        "| | figure | Onward | beside it | rival | its figure | ratio | reach |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rival = row.rival
        cells = (
            row.figure,
            row.what,
            _value(row.ours, row.unit),
            _beside(row.ours),
            rival.name if rival else "-",
            f"{_value(rival, row.unit)}; {_beside(rival)}".rstrip("; ") if rival else "-",
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            _reach(row) if row.holds(row.reach) else f"{_reach(row)}, not reached",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def written(rows: Sequence[Row], machine: dict[str, Any], folder: Path, began: datetime) -> Path:
    """Write the same as a JSON file, whose name has the time of the begin, and as Markdown beside it."""
    file = folder / f"{began:%Y%m%dT%H%M%SZ}.json"
    results = {"at": began.isoformat(timespec="seconds"), "machine": machine, "rows": [row.as_json() for row in rows]}
    file.write_text(json.dumps(results, indent=2) + "\n")
    file.with_suffix(".md").write_text(as_markdown(rows))
    return file


def _value(measured: Measured, unit: str) -> str:
    figure = measured.median
    digits = 0 if figure >= 100 else 2  # noqa: PLR2004 - three figures are enough
    return f"{figure:,.{digits}f} {unit} ±{measured.spread:.0%}"


def _beside(measured: Measured) -> str:
    return ", ".join(_UNITS[name].format(median(values)) for name, values in measured.beside.items())


def _reach(row: Row) -> str:
    if row.reach is None:
        return "-"
    return f"{'≥' if row.at_least else '≤'} {row.reach:g}"
