"""Onward's own command line as real processes."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onward.supervisor.supervisor import bound
from tests import forked
from tests.forked import Forked

ROOT = Path(__file__).resolve().parent.parent
WAIT_TIMEOUT_S = 30.0


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without its settings; the application of this repository can be imported."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("ONWARD_")}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**inherited, "PYTHONPATH": path, **variables}


def onward(*arguments: str, project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself, and return its outcome."""
    env = environment(**variables)
    if "PYTHONPATH" not in variables:
        return forked.template(env["PYTHONPATH"]).run(
            ["--project", str(project), *arguments], environment=env, cwd=project, timeout_s=WAIT_TIMEOUT_S * 2
        )
    return subprocess.run(
        [sys.executable, "-P", "-m", "onward", "--project", str(project), *arguments],
        env=env,
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT_S * 2,
        check=False,
    )


def python(file: str, *, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a file of the folder as a program that ends by itself, and return its outcome."""
    env = environment(**variables)
    return forked.template(env["PYTHONPATH"]).run(
        [], environment=env, cwd=folder, timeout_s=WAIT_TIMEOUT_S * 2, program=file
    )


def pytest_in(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in that folder, where nothing is of this repository's own tests, and return the outcome."""
    env = environment(**variables)
    others = [f"-pno:{plugin}" for plugin in ("valkey", "cacheprovider", "hypothesispytest", "xdist")]
    return forked.template(env["PYTHONPATH"]).run(
        [*others, *arguments],
        environment=env,
        cwd=project,
        timeout_s=WAIT_TIMEOUT_S * 2,
        program="pytest",
    )


class Running:
    """A running command; its output so far is in `output()`."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked, log: Path) -> None:
        self.process = process
        self._log = log

    def output(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def wait_for(self, words: str) -> str:
        """Wait for the first line that holds the words, and return it."""
        wait_until(lambda: words in self.output() or self.process.poll() is not None)
        found = next((line for line in self.output().splitlines() if words in line), None)
        assert found, f"{words!r} was never said; it said:\n{self.output()}"
        return found

    def serving(self) -> str:
        """Wait for the API's address, and return it."""
        found = re.search(r"http://[\w.:\[\]]+", self.wait_for("serving"))
        assert found
        return found[0]

    def end(self, timeout_s: float = WAIT_TIMEOUT_S) -> int:
        """Stop the command in order, and return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)


@contextmanager
def running(*arguments: str, project: Path, descriptors: Sequence[int] = (), **variables: str) -> Iterator[Running]:
    """Run a command as long as the block lasts; open files of those numbers are handed over."""
    log = project / f"{arguments[0]}-{time.monotonic_ns()}.log"
    process = _started(["--project", str(project), *arguments], project, descriptors, variables, log)
    try:
        yield Running(process, log)
    finally:
        process.terminate()
        try:
            process.wait(WAIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(
    arguments: Sequence[str], cwd: Path, descriptors: Sequence[int], variables: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes] | Forked:
    """Start by the command line if open files or an import path are handed over, else by a fork."""
    env = environment(**variables)
    log.touch()
    if not descriptors and "PYTHONPATH" not in variables:
        template = forked.template(env["PYTHONPATH"])
        return template.start(arguments, environment=env, cwd=cwd, out=log, error=log)
    with log.open("wb") as output:
        return subprocess.Popen(
            bound([sys.executable, "-P", "-m", "onward", *arguments]),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=descriptors,
        )


def wait_until(holds: Callable[[], object], timeout_s: float = WAIT_TIMEOUT_S) -> None:
    """Wait for the condition; fail the test if it does not hold in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.02)


def command_line(process: Path) -> bytes:
    """Return the command line of the process of that folder in /proc; empty once it has ended."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it ends while it is looked at
        return b""


def graphql(address: str, document: str, **variables: Any) -> Any:
    """Return the data of the API's answer."""
    request = urllib.request.Request(
        f"{address}/graphql",
        json.dumps({"query": document, "variables": variables}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_TIMEOUT_S) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]
