"""P: flows. Jobs beside many that wait, of many keys, in a large batch; and each beside jobs without flows.

Each side is a process with a ledger of its own, and they take turns. Of jobs the figures are processor time, which
other work on the machine changes least.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.base import ROOT, BenchError, Measured, Row, Scope, emptied
from benchmarks.processes import ours, python

MANY, MANY_QUICK, FEW = 100_000, 4_000, 10
ENQUEUED = 10_000  # by an application, once; enough for all that is claimed
EMITTING, CHUNKS = 8, 2_000
WORK = ("accept", "claim", "finish")


class Side:
    """A process on a ledger of its own, and its figures of each round."""

    def __init__(self, stack: ExitStack, scope: Scope, kind: str, count: int = 0, jobs: int = 0) -> None:
        """Start it, and wait until it has filled its ledger. Raises BenchError."""
        sys.stderr.write(f"onward:   {kind} {count:,}\n")
        folder = emptied(scope.folder / f"{kind}-{count}")
        self._log = folder / "log"
        self.figures: dict[str, list[float]] = {}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                python("benchmarks.flows", kind, str(count), str(jobs), probed=False),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, **ours(folder, backend="background")},
            )
        stack.callback(self._close)
        self._next_line()

    def take(self) -> None:
        """Measure a round. Raises BenchError."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for name, value in json.loads(self._next_line()).items():
            self.figures.setdefault(name, []).append(value)

    def measured(self, what: str, name: str) -> Measured:
        return Measured(name, self.figures[what])

    def _next_line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - likewise
        if line := self._process.stdout.readline():
            return line
        raise BenchError(f"{self._log}: ended:\n{self._log.read_text(errors='replace')[-2000:]}")

    def _close(self) -> None:
        self._process.communicate()


def take(scope: Scope) -> Iterator[Row]:
    many = MANY_QUICK if scope.quick else MANY
    with ExitStack() as stack:
        plain = Side(stack, scope, "plain")
        waiting = [Side(stack, scope, "waiting", n) for n in (FEW, many)]
        keys = [Side(stack, scope, "keys", n, many) for n in (FEW, many)]
        blocked = [Side(stack, scope, "blocked", n, many) for n in (FEW, many // 2)]  # one in line and one behind it
        unique = Side(stack, scope, "unique", 0, many)
        for _ in range(scope.many_rounds):
            for side in (plain, *waiting, *keys, *blocked, unique):
                side.take()
    with ExitStack() as stack:
        single = Side(stack, scope, "single", 0, ENQUEUED)
        batches = [Side(stack, scope, "batch", n, ENQUEUED) for n in (FEW, many)]
        for _ in range(scope.many_rounds):
            for side in (single, *batches):
                side.take()
    with ExitStack() as stack:
        emit = Side(stack, scope, "emit", EMITTING, CHUNKS)
        for _ in range(scope.many_rounds):
            emit.take()
    yield from _scaled("{} beside {:,} jobs that wait", "beside {:,}", many, waiting)
    yield from _scaled("{} with {:,} keys", "with {:,}", many, keys)
    yield from _scaled("{} with {:,} keys at their limits", "with {:,}", many // 2, blocked)
    yield from _scaled("{} in a batch of {:,}", "in batches of {:,}", many, batches)
    yield from _beside("{}, a job with a limit by key", keys[0], "a job without flows", plain)
    yield from _beside("{}, a unique job", unique, "a job without flows", plain)
    yield from _beside("{}, a job of a batch of ten", batches[0], "enqueue_many, a hundred", single)
    chunks = Measured("Onward", emit.figures["per_second"], {"cpu_us": emit.figures["cpu_us"]})
    yield Row("P", f"chunks, {EMITTING} jobs that emit {CHUNKS:,} each", "/s", chunks)


def _scaled(what: str, rival: str, many: int, sides: list[Side]) -> Iterator[Row]:
    """Compare the work, and the memory of the process, with many and with ten."""
    few, large = sides
    for name in (*WORK, "memory"):
        ours_, theirs = large.measured(name, "Onward"), few.measured(name, rival.format(FEW))
        unit = "MB" if name == "memory" else "us CPU"
        yield Row("P", what.format(name, many), unit, ours_, theirs, reach=1.2, at_least=False, generous=3.0)


def _beside(what: str, side: Side, rival: str, plain: Side) -> Iterator[Row]:
    """Compare the work with that of jobs without flows."""
    for name in WORK:
        yield Row("P", what.format(name), "us CPU", side.measured(name, "Onward"), plain.measured(name, rival))
