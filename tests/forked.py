"""Commands forked from a process that has loaded the program already: real processes, without a second of imports each.

Each test process has one such template, from the first command on that it is asked for until its own end.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from runpy import run_module, run_path

POLL_S = 0.01


class Forked:
    """A process whose parent is the template; used as `subprocess.Popen` is."""

    def __init__(self, pid: int, codes: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._code = codes / str(pid)

    def poll(self) -> int | None:
        if self.returncode is None and self._code.exists():
            self.returncode = int(self._code.read_text())
            self._code.unlink()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("onward", timeout or 0)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Template:
    """The process whose forks are the commands."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._turn = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="onward-forked-")
        self._codes = Path(self._folder.name)
        # Its end is that of its standard input: the kernel's signal comes with the end of the thread that started it.
        command = (sys.executable, "-P", "-m", "tests.forked", self._folder.name)
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        out: Path,
        error: Path,
        program: str = "onward",
        preloaded: Sequence[str] = (),
    ) -> Forked:
        """Start `onward`, `pytest`, a module or a file of the folder as a program; its output is added to the files.

        The template loads the `preloaded` modules before it forks, and keeps them for all that follow.
        """
        wanted = {
            "arguments": [program, *arguments],
            "environment": dict(environment),
            "cwd": str(cwd),
            "preloaded": list(preloaded),
        }
        with self._turn:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps({**wanted, "output": [str(out), str(error)]}) + "\n")
            self._process.stdin.flush()
            return Forked(int(self._process.stdout.readline()), self._codes)

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        timeout_s: float,
        program: str = "onward",
    ) -> subprocess.CompletedProcess[str]:
        """Run the program with these arguments, and return the outcome. Raises TimeoutExpired."""
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as error:
            files = Path(out.name), Path(error.name)
            process = self.start(
                arguments, environment=environment, cwd=cwd, out=files[0], error=files[1], program=program
            )
            try:
                code = process.wait(timeout_s)
            finally:
                process.kill()
            said = [file.read_text("utf-8", errors="replace") for file in files]
        return subprocess.CompletedProcess(list(arguments), code, *said)


@cache
def template(path: str) -> Template:
    """Return the template of this process, for commands with that import path."""
    return Template({**os.environ, "PYTHONPATH": path})


def _serve(codes: Path) -> None:
    """Fork for each line, and record how each fork ended, until there are no more lines."""
    from onward.api import (
        app,  # noqa: F401 - loaded once, for all that are forked
        server,  # noqa: F401 - likewise
    )
    from onward.cli import check, terminal  # noqa: F401 - likewise
    from onward.worker import process  # noqa: F401 - likewise

    assert threading.active_count() == 1, "a fork takes no threads along"
    gc.freeze()  # no fork copies the pages of all that is loaded by looking for garbage in it
    lines = b""
    alive: dict[int, int] = {}  # the forks, by the descriptors that become readable at their end
    while True:
        ready = select.select([0, *alive], [], [])[0]
        for ended in set(ready) - {0}:
            _reap(codes, alive.pop(ended))
            os.close(ended)
        if 0 not in ready:
            continue
        read = os.read(0, 65536)
        if not read:
            return
        *wanted, lines = (lines + read).split(b"\n")
        for line in wanted:
            command = json.loads(line)
            for name in command["preloaded"]:
                import_module(name)
            pid = os.fork()
            if pid == 0:
                _become(command)
                return
            alive[os.pidfd_open(pid)] = pid
            os.write(1, f"{pid}\n".encode())


def _reap(codes: Path, pid: int) -> None:
    aside = codes / f"{pid}.new"
    aside.write_text(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    aside.rename(codes / str(pid))


def _become(wanted: dict[str, object]) -> None:
    """Turn this process into a command of the program."""
    from onward.cli import main
    from onward.jobs.timings import VARIABLE

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # it ends with the template
    nothing = os.open(os.devnull, os.O_RDONLY)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    out, error = (os.open(str(name), flags, 0o644) for name in wanted["output"])  # type: ignore[attr-defined]
    for target, source in ((0, nothing), (1, out), (2, error)):
        os.dup2(source, target)
    os.closerange(3, 64)
    # A break that the environment names has been made at the template's start, wrong timings as well.
    broken = {VARIABLE: os.environ[VARIABLE]} if {"FAULTS_BREAK", VARIABLE} <= os.environ.keys() else {}
    os.environ.clear()
    os.environ.update({**wanted["environment"], **broken})  # type: ignore[dict-item]
    os.chdir(str(wanted["cwd"]))
    sys.argv = [*wanted["arguments"]]  # type: ignore[misc]
    code = 0
    try:
        if sys.argv[0] == "pytest":
            import pytest

            code = pytest.console_main()
        elif sys.argv[0] == "onward":
            main.run()
        elif sys.argv[0].endswith(".py"):
            sys.path.insert(0, str(wanted["cwd"]))
            run_path(sys.argv[0], run_name="__main__")
        else:
            run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        code = 1
        traceback.print_exc()
    # Orderly, but for taking apart all modules that the template had loaded: that is half a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
