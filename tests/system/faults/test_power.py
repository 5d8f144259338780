"""Answered jobs are on disk: the journal is written, then synced, then the answer leaves.

Seen from outside, by strace, and so true of what the kernel was asked to do, whatever the program believes.
"""

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from onward.supervisor.supervisor import bound
from tests.processes import environment
from tests.system.faults.breaks import broken
from tests.system.faults.fault_tests.base import soon
from tests.system.faults.installation import COMBINATIONS, Installation
from tests.system.faults.loop import Loop
from tests.system.faults.process import terminate
from tests.system.faults.starters import CommandLine, Started

CALLS = "fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg,read,recvfrom,recvmsg"
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)")
THREAD = re.compile(r"^(\d+) ")


class Traced(CommandLine):
    """Starts the program under strace, which writes its calls into `trace`."""

    def __init__(self, loop: Loop, trace: Path) -> None:
        super().__init__(loop)
        self.trace = trace

    def start(self, arguments: Sequence[str], *, variables: Mapping[str, str], log: Path, faulty: bool) -> Started:
        strace = shutil.which("strace")
        assert strace
        module = "tests.system.faults.launcher" if faulty else "onward"
        program = (sys.executable, "-P", "-m", module, *arguments)
        traced = bound((strace, "-f", "-y", "-s", "2000", "-e", f"trace={CALLS}", "-o", str(self.trace), *program))
        return self._loop.call(self._start(traced, environment(**variables), log))


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as running:
        yield running


@contextmanager
def traced(tmp_path: Path, loop: Loop, faults: Mapping[str, str]) -> Iterator[Installation]:
    if shutil.which("strace") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("needs strace (Debian: apt-get install strace)")
        pytest.skip("needs strace (Debian: apt-get install strace)")
    starter = Traced(loop, tmp_path / "trace")
    installation = Installation(COMBINATIONS[0], tmp_path, loop, starter=starter)
    installation.apis[0].faults = dict(faults)
    try:
        installation.start()
        yield installation
    finally:
        end(installation)
        installation.close()


def end(installation: Installation) -> None:
    """End the program in order, so that the trace is complete."""
    if installation.apis[0].alive:
        for pid in installation.apis[0].children():
            terminate(pid, signal.SIGTERM)
        installation.apis[0].wait(20)


def unsynced_answers(installation: Installation, trace: Path, n: int = 12) -> list[str]:
    """Return the jobs whose answer left before their writes had been synced."""
    sent = [
        request.job or ""
        for request in installation.client.send("processItem", n, lanes=1, params={"runAt": soon(600)})
    ]
    end(installation)
    lines = trace.read_text(errors="replace").splitlines()
    found = []
    for job in sent:
        answer = next(i for i, line in enumerate(lines) if job in line and _is_answer(line))
        request = max(i for i in range(answer) if '"POST /graphql' in lines[i])
        if not _synced(lines[request:answer]):
            found.append(job)
    return found


def _is_answer(line: str) -> bool:
    return "HTTP/1.1 200" in line or ("socket:" in line and "job_" in line) or ("TCP:" in line and "job_" in line)


def _synced(lines: Sequence[str]) -> bool:
    """Return whether the journal was written, and a later sync of it has ended."""
    written = syncing = False
    thread = ""
    for line in lines:
        call = CALL.match(line)
        if call is None:
            continue
        if call[1] == "pwrite64" and "-wal>" in line:
            written, syncing = True, False
        elif call[1] in ("fdatasync", "fsync"):
            who = THREAD.match(line)
            if "-wal>" in line and written:
                syncing, thread = True, who[1] if who else ""
            if syncing and "= 0" in line and who and who[1] == thread:
                return True
    return False


@pytest.mark.slow
def test_no_answer_leaves_before_the_journal_is_synced(tmp_path: Path, loop: Loop) -> None:
    """All answered jobs are therefore still there after a power cut."""
    with traced(tmp_path, loop, {}) as installation:
        assert unsynced_answers(installation, tmp_path / "trace") == []


@pytest.mark.slow
def test_the_trace_shows_a_missing_sync(tmp_path: Path, loop: Loop) -> None:
    """The test above can fail: with synchronous=OFF every answer leaves too early."""
    with traced(tmp_path, loop, broken("no_sync")) as installation:
        assert len(unsynced_answers(installation, tmp_path / "trace")) == 12
