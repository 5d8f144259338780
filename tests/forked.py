"""Commands forked from a process that has loaded the program already: real processes, without a second of imports each.

Each test process has one such template, from the first command on that it is asked for until its own end.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from onward.supervisor.supervisor import bound


class Template:
    """Runs one command at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._turn = threading.Lock()
        command = bound((sys.executable, "-P", "-m", "tests.forked"))
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """The outcome of `onward` with these arguments. Raises TimeoutExpired."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn, tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as error:
            wanted = {"arguments": list(arguments), "environment": dict(environment), "cwd": str(cwd)}
            self._process.stdin.write(json.dumps({**wanted, "output": [out.name, error.name]}) + "\n")
            self._process.stdin.flush()
            pid = int(self._process.stdout.readline())
            late: list[int] = []

            def kill() -> None:
                late.append(pid)
                os.kill(pid, signal.SIGKILL)

            timer = threading.Timer(timeout_s, kill)
            timer.start()
            code = int(self._process.stdout.readline())
            timer.cancel()
            said = [Path(file.name).read_text("utf-8", errors="replace") for file in (out, error)]
        if late:
            raise subprocess.TimeoutExpired(list(arguments), timeout_s, *said)
        return subprocess.CompletedProcess(list(arguments), code, *said)


@cache
def template(path: str) -> Template:
    """The template of this process, for commands with that import path."""
    return Template({**os.environ, "PYTHONPATH": path})


def _serve() -> None:
    from onward.api import (
        app,  # noqa: F401 - loaded once, for all that are forked
        server,  # noqa: F401 - likewise
    )
    from onward.cli import check, terminal  # noqa: F401 - likewise
    from onward.worker import process  # noqa: F401 - likewise

    assert threading.active_count() == 1, "a fork takes no threads along"
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
            return
        _answer(pid)
        with suppress(ChildProcessError):
            _answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _answer(number: int) -> None:
    os.write(1, f"{number}\n".encode())


def _become(wanted: dict[str, object]) -> None:
    """This process is a command of the program's from here on."""
    from onward.cli import main

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with the template
    nothing = os.open(os.devnull, os.O_RDONLY)
    out, error = (os.open(str(name), os.O_WRONLY | os.O_APPEND) for name in wanted["output"])  # type: ignore[attr-defined]
    for target, source in ((0, nothing), (1, out), (2, error)):
        os.dup2(source, target)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(wanted["environment"])  # type: ignore[call-overload]
    os.chdir(str(wanted["cwd"]))
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the old one holds what was read ahead
    sys.argv = ["onward", *wanted["arguments"]]  # type: ignore[misc]
    main.run()


if __name__ == "__main__":
    _serve()
