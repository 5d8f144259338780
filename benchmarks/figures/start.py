"""J: the time that a start takes, once everything is set up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.base import ROOT, BenchError, Measured, Row, Scope, emptied, in_turn
from benchmarks.postgres import servers
from benchmarks.processes import free_port, ours, running, wait_for_port

IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
LAUNCHER = str(ROOT / "onward")  # it looks for changed requirements, and starts the other
INSTALLED = str(Path(sys.executable).with_name("onward"))


def take(scope: Scope) -> Iterator[Row]:
    # Without bounds for `--quick`: they would be times, and a busy machine takes ten times as long.
    first, listed, package, served = (Measured("Onward") for _ in range(4))
    launched, launched_list = Measured("Onward"), Measured("Onward")
    in_turn(
        scope.many_rounds,
        [
            (first, partial(_serve_anew, scope, INSTALLED)),
            (listed, partial(_list, scope, INSTALLED)),
            (launched, partial(_serve_anew, scope, LAUNCHER)),
            (launched_list, partial(_list, scope, LAUNCHER)),
            (package, lambda m: _import(scope, "onward", m)),
            (served, lambda m: _import(scope, "onward.api.app", m)),
        ],
    )
    yield Row("J", "from `onward serve` to the first answer", "s", first, reach=0.8, at_least=False)
    yield Row("J", "`onward jobs list`", "s", listed, reach=0.4, at_least=False)
    yield Row("J", "from a clone's `./onward serve` to the first answer", "s", launched, reach=0.8, at_least=False)
    yield Row("J", "a clone's `./onward jobs list`", "s", launched_list, reach=0.4, at_least=False)
    yield Row("J", "`import onward`", "s", package, reach=0.15, at_least=False)
    yield Row("J", "`import onward.api.app`", "s", served, at_least=False)
    if not scope.quick:
        yield _on_postgres(scope)


def _on_postgres(scope: Scope) -> Row:
    first = Measured("Onward")
    with servers(scope) as on:
        for _ in range(scope.many_rounds):
            with on.onward("background") as run:
                _serve(INSTALLED, run.folder, run.env, first)
    return Row("J", "from `onward serve` to the first answer, PostgreSQL", "s", first, reach=0.8, at_least=False)


def _serve_anew(scope: Scope, onward: str, measured: Measured) -> None:
    folder = emptied(scope.folder / "onward")
    _serve(onward, folder, ours(folder, backend="background"), measured)


def _serve(onward: str, folder: Path, env: dict[str, str], measured: Measured) -> None:
    port = free_port()
    with running([onward, "serve", "--port", str(port)], folder, "serve", env=env) as server:
        wait_for_port(port, server, step_s=0.005)
        measured.add(time.monotonic() - server.started)


def _list(scope: Scope, onward: str, measured: Measured) -> None:
    """Measure the command on the ledger that `_serve_anew` has made."""
    env = ours(scope.folder / "onward", backend="background")
    began = time.monotonic()
    _finished([onward, "jobs", "list"], env)
    measured.add(time.monotonic() - began)


def _import(scope: Scope, module: str, measured: Measured) -> None:
    env = ours(scope.folder, backend="background")
    measured.add(float(_finished([sys.executable, "-P", "-c", IMPORT.format(module)], env)))


def _finished(command: list[str], env: dict[str, str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(ROOT), env=env)
    if run.returncode:
        raise BenchError(f"`{' '.join(command)}` failed: {run.stderr}")
    return run.stdout
