"""J: the time that a start takes, once everything is set up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.base import ROOT, BenchError, Measured, Row, Scope, emptied, in_turn
from benchmarks.processes import free_port, ours, running, wait_for_port

IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
ONWARD = str(ROOT / "onward")


def take(scope: Scope) -> Iterator[Row]:
    # Without bounds for `--quick`: they would be times, and a busy machine takes ten times as long.
    first, listed, package, served = (Measured("Onward") for _ in range(4))
    in_turn(
        scope.many_rounds,
        [
            (first, lambda m: _serve(scope, m)),
            (listed, lambda m: _list(scope, m)),
            (package, lambda m: _import(scope, "onward", m)),
            (served, lambda m: _import(scope, "onward.api.app", m)),
        ],
    )
    yield Row("J", "from `./onward serve` to the first answer", "s", first, reach=0.8, at_least=False)
    yield Row("J", "`./onward jobs list`", "s", listed, reach=0.4, at_least=False)
    yield Row("J", "`import onward`", "s", package, reach=0.15, at_least=False)
    yield Row("J", "`import onward.api.app`", "s", served, at_least=False)


def _serve(scope: Scope, measured: Measured) -> None:
    folder = emptied(scope.folder / "onward")
    port = free_port()
    command = [ONWARD, "serve", "--port", str(port)]
    with running(command, folder, "serve", env=ours(folder, backend="background")) as server:
        wait_for_port(port, server, step_s=0.005)
        measured.add(time.monotonic() - server.started)


def _list(scope: Scope, measured: Measured) -> None:
    """Measure the command on the ledger that `_serve` has made."""
    env = ours(scope.folder / "onward", backend="background")
    began = time.monotonic()
    _finished([ONWARD, "jobs", "list"], env)
    measured.add(time.monotonic() - began)


def _import(scope: Scope, module: str, measured: Measured) -> None:
    env = ours(scope.folder, backend="background")
    measured.add(float(_finished([sys.executable, "-P", "-c", IMPORT.format(module)], env)))


def _finished(command: list[str], env: dict[str, str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(ROOT), env=env)
    if run.returncode:
        raise BenchError(f"`{' '.join(command)}` failed: {run.stderr}")
    return run.stdout
