"""The figures of `onward top` as text for a terminal, and as JSON with GraphQL's names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from onward.cli import job_text
from onward.cli.job_text import plain
from onward.cli.stats import headed, took
from onward.cli.top_figures import Figures, HandlerFigures
from onward.jobs import sketch
from onward.jobs.history_rows import COUNTS
from onward.jobs.model import to_datetime
from onward.jobs.workers import Worker

BARS = "▁▂▃▄▅▆▇█"
MEGABYTE = 1_000_000
SHOWN = ("p50", "p95")
COUNTED = ("enqueued", "succeeded", "failed", "retried")
BETWEEN = 2  # characters between two columns
NARROW = 110  # characters; a narrower screen has fewer columns
SHARE_OF_HANDLERS = 0.6  # of the lines that a screen has for tables
OTHER_LINES = 7  # of a screen below its head: headings, blanks, the numbers of rows that are left out, the hint


def whole(figures: Figures) -> Group:
    """Format all figures."""
    return Group(*_head(figures, 60), Text(), _handlers(figures), Text(), _workers(figures.workers))


def screen(figures: Figures, console: Console, *, problem: str) -> Group:
    """Format as many of the figures as the screen has lines for. The `problem` is that of the newest read."""
    width, height = console.size
    head = Group(*_head(figures, width - 40))
    lines = max(height - len(console.render_lines(head)) - OTHER_LINES, 2)
    processes = min(len(figures.workers), max(lines - len(figures.handlers), int(lines * (1 - SHARE_OF_HANDLERS)), 1))
    return Group(
        head,
        Text(),
        _handlers(figures, lines - processes, width=width),
        Text(),
        _workers(figures.workers, processes),
        Text(f"{plain(problem)}; trying again", style="red") if problem else Text("q ends", style="bright_black"),
    )


def as_object(figures: Figures) -> Mapping[str, Any]:
    """Return the figures as a JSON object; with a problem, those of the history are null."""
    paused = [one.handler for one in figures.handlers if one.is_paused]
    return {
        "from": _iso(figures.span.begin),
        "to": _iso(figures.span.end),
        "counts": {status.value: n for status, n in figures.counts.items()},
        "handlers": [_handler(one, is_known=not figures.problem) for one in figures.handlers],
        "paused": paused,
        "workers": [
            {"id": worker.id, "name": worker.name, "running": worker.running, "handlers": dict(running)}
            for worker, running in figures.workers
        ],
        "problem": figures.problem or None,
    }


def _handler(one: HandlerFigures, *, is_known: bool) -> Mapping[str, Any]:
    return {
        "handler": one.handler,
        **(one.counts if is_known else dict.fromkeys(COUNTS)),
        "wait": sketch.percentiles(one.sums.waits),
        "run": sketch.percentiles(one.sums.runs),
        "depth": one.depth,
        "oldestAt": None if one.oldest is None else _iso(one.oldest),
        "blocked": one.blocked,
    }


def _head(figures: Figures, width: int) -> Iterable[Text]:
    """Format the counts by status, the sums of the time, and its course."""
    yield Text.assemble(_title("now"), job_text.counts({status: n for status, n in figures.counts.items() if n}))
    if figures.problem:
        yield Text(plain(figures.problem), style="red")
        return
    since = f"{to_datetime(figures.span.begin).astimezone():%Y-%m-%d %H:%M}"
    sums = "   ".join(f"{name} {sum(one.counts[name] for one in figures.handlers):,}" for name in COUNTS)
    yield Text.assemble(_title("since"), f"{since}   {sums}")
    for name, style in (("enqueued", "cyan"), ("failed", "red")):
        values = [part[name] for part in figures.parts][-max(width, 10) :]
        most = f"  at most {max(values, default=0):,} a {figures.step.lower()}"
        yield Text.assemble(_title(name), (_bars(values), style), most, no_wrap=True)


def _title(word: str) -> tuple[str, str]:
    return f"{word:<10}", "bold"


def _bars(values: Sequence[int]) -> str:
    most = max(values, default=0)
    return "".join(BARS[-(-n * len(BARS) // most) - 1] if n else " " for n in values)


def _handlers(figures: Figures, most: int | None = None, *, width: int = sys.maxsize) -> Table:
    """Return a table of the handlers, those with the most jobs first."""
    narrow = width < NARROW
    counted, shown = (("enqueued", "failed"), ("p95",)) if narrow else (COUNTED, SHOWN)
    times = (f"{name} {of}" for name in ("wait", "run") for of in shown)
    made = headed(("handler",), ("waiting", "oldest", *counted, *times))
    made.add_column("")
    found = sorted(figures.handlers, key=lambda one: (-one.depth - one.blocked, -one.counts["started"], one.handler))
    for one in found[:most]:
        made.add_row(*_handler_cells(one, figures.span.end, counted, shown), _state(one, narrow=narrow))
    return _fitted(_with_rest(made, len(found), most), width)


def _handler_cells(one: HandlerFigures, now: int, counted: Sequence[str], shown: Sequence[str]) -> Iterable[Text]:
    yield Text(plain(one.handler))
    yield Text(f"{one.depth:,}")
    yield Text("-" if one.oldest is None else took(max(now - one.oldest, 0) / 1_000_000))
    for name in counted:
        n = one.counts[name]
        yield Text(f"{n:,}", style="red" if n and name == "failed" else "")
    for times in (one.sums.waits, one.sums.runs):
        found = sketch.percentiles(times)
        yield from (Text(took(found[name])) for name in shown)


def _state(one: HandlerFigures, *, narrow: bool) -> Text:
    state = [*(["paused"] if one.is_paused else []), *([f"{one.blocked:,} blocked"] if one.blocked else [])]
    return Text(", ".join(state[:1] if narrow else state), style="yellow")


def _fitted(made: Table, width: int) -> Table:
    """Leave the figures whole: the first column and the last are cut to the rest of the width."""
    first, *between, last = made.columns
    lengths = {id(one): max(cell_len(str(cell)) for cell in (one.header, *one.cells)) for one in made.columns}
    rest = width - sum(lengths[id(one)] for one in between) - BETWEEN * (len(made.columns) - 1)
    last.max_width = max(min(lengths[id(last)], rest // 2), 1)
    first.max_width = max(rest - last.max_width, 1)
    return made


def _workers(found: Sequence[tuple[Worker, Mapping[str, int]]], most: int | None = None) -> Table:
    made = headed(("process", "role", "version"), ("running", "memory"))
    made.add_column("")
    for worker, running in found[:most]:
        memory = "-" if worker.memory_bytes is None else f"{worker.memory_bytes // MEGABYTE:,} MB"
        runs = ", ".join(f"{handler} {n}" if n > 1 else handler for handler, n in running.items())
        state = "draining" if worker.draining else ""
        cells = (worker.name, worker.role, worker.version, f"{worker.running:,}", memory, f"{state} {runs}".strip())
        made.add_row(*(Text(plain(cell)) for cell in cells))
    return _with_rest(made, len(found), most)


def _with_rest(made: Table, there: int, most: int | None) -> Table:
    """Keep each row in one line, and say below the table how many rows it lacks."""
    for column in made.columns:
        column.no_wrap = True
    if most is not None and there > most:
        made.caption, made.caption_justify = Text(f"and {there - most:,} more", style="bright_black"), "left"
    return made


def _iso(at: int) -> str:
    return to_datetime(at).isoformat().replace("+00:00", "Z")
