"""J: the time that a start takes, once everything is set up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.base import ROOT, BenchError, Measured, Row, Scope, emptied, in_turn
from benchmarks.processes import free_port, ours, running, wait_for_port

IMPORT = "import time; t = time.perf_counter(); import onward.api.app; print(time.perf_counter() - t)"


def take(scope: Scope) -> Iterator[Row]:
    # Without bounds for `--quick`: they would be times, and a busy machine takes ten times as long.
    first, imported = Measured("Onward"), Measured("Onward")
    in_turn(scope.many_rounds, [(first, lambda m: _serve(scope, m)), (imported, lambda m: _import(scope, m))])
    yield Row("J", "from `./onward serve` to the first answer", "s", first, reach=1.5, at_least=False)
    yield Row("J", "`import onward.api.app`", "s", imported, reach=0.8, at_least=False)


def _serve(scope: Scope, measured: Measured) -> None:
    folder = emptied(scope.folder / "onward")
    port = free_port()
    command = [str(ROOT / "onward"), "serve", "--port", str(port)]
    with running(command, folder, "serve", env=ours(folder, backend="background")) as server:
        wait_for_port(port, server, step_s=0.005)
        measured.add(time.monotonic() - server.started)


def _import(scope: Scope, measured: Measured) -> None:
    env = ours(scope.folder, backend="background")
    run = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT], capture_output=True, text=True, check=False, cwd=Path(ROOT), env=env
    )
    if run.returncode:
        raise BenchError(f"`import onward.api.app` failed: {run.stderr}")
    measured.add(float(run.stdout))
