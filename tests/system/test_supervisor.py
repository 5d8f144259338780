"""The supervisor restarts its processes, labels their output, and stops them in order."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from onward.supervisor.supervisor import ProcessSpec, Supervisor, bound
from tests.processes import environment
from tests.terminals import on_a_terminal

CLOSED_FD = 900  # a number that nothing in the tests' process gets
FOREVER = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)


def python(name: str, program: str, *, stage: int = 0, stdin: bytes = b"") -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", program), stage=stage, stdin=stdin)


async def stopped_after(
    words: str,
    parts: list[ProcessSpec],
    capfd: pytest.CaptureFixture[str],
    deadline_s: float = 10,
    number: signal.Signals = signal.SIGTERM,
) -> str:
    """Return the output of parts that were stopped once each of them had printed the words."""
    said = ""
    running = asyncio.ensure_future(Supervisor(parts, deadline_s=deadline_s).run())
    async with asyncio.timeout(30):
        while said.count(words) < len(parts):
            await asyncio.sleep(0.02)
            said += capfd.readouterr().out
        os.kill(os.getpid(), number)
        assert await running == 0
    return said + capfd.readouterr().out


async def test_each_line_names_its_process(capfd: pytest.CaptureFixture[str]) -> None:
    said = await stopped_after("up", [python("api", FOREVER), python("worker-1", FOREVER)], capfd)
    assert sorted(said.splitlines()) == ["api      | up", "worker-1 | up"]


async def test_a_very_long_line_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import signal; print('x' * 3_000_000, 'up', flush=True); signal.pause()"
    said = await stopped_after("up", [python("api", program)], capfd)
    assert said.count("x") == 3_000_000


class Unwritable:
    """The buffer of a standard output whose writes fail."""

    def __init__(self, code: int) -> None:
        self.tried = asyncio.Event()
        self._code = code

    def write(self, _data: bytes) -> int:
        self.tried.set()
        raise OSError(self._code, os.strerror(self._code))

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_output_that_cannot_be_written_ends_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The disk of the log is full, or the terminal has been closed."""
    starts, output = tmp_path / "starts", Unwritable(code)
    program = f"import signal; open({str(starts)!r}, 'a').write('x'); print('up', flush=True); signal.pause()"
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=output, isatty=lambda: False))
    running = asyncio.ensure_future(Supervisor([python("api", program)], deadline_s=10).run())
    async with asyncio.timeout(30):
        await output.tried.wait()
        await asyncio.sleep(0.2)  # what must not happen has no condition to wait for
        assert not running.done()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0
    assert starts.read_text() == "x"


async def test_processes_stop_stage_by_stage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    endings = tmp_path / "endings"
    program = (
        "import signal, sys, time\n"
        f"def end(*_): time.sleep(0.1); open({str(endings)!r}, 'a').write(%r); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True)\n"
        "while True: signal.pause()"
    )
    parts = [python("c", program % "c", stage=2), python("a", program % "a"), python("b", program % "b", stage=1)]
    await stopped_after("up", parts, capfd)
    assert endings.read_text() == "abc"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name)
async def test_a_hang_up_and_a_quit_stop_it_likewise(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    assert "up" in await stopped_after("up", [python("api", FOREVER)], capfd, number=number)


async def test_a_process_that_does_not_stop_is_killed_at_its_deadline(capfd: pytest.CaptureFixture[str]) -> None:
    assert "killed" in await stopped_after("up", [python("api", STUBBORN)], capfd, deadline_s=0.1)


async def test_a_second_ctrl_c_does_not_wait(capfd: pytest.CaptureFixture[str]) -> None:
    running = asyncio.ensure_future(Supervisor([python("api", STUBBORN)], deadline_s=600).run())
    async with asyncio.timeout(30):
        while "up" not in capfd.readouterr().out:
            await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        assert await running == 0


async def test_a_dead_process_is_restarted_with_growing_pauses(capfd: pytest.CaptureFixture[str]) -> None:
    said = await stopped_after("starting again in 2 s", [python("api", "raise SystemExit(1)")], capfd)
    assert [line.split("| ")[1] for line in said.splitlines()] == [
        "ended with 1", "starting again in 1 s", "ended with 1", "starting again in 2 s",
    ]  # fmt: skip


async def test_a_start_that_the_system_refuses_is_tried_again_with_growing_pauses(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A restart may find no process or no memory left; here it is a descriptor that is not open."""
    part = replace(python("worker", FOREVER), descriptors=(CLOSED_FD,))
    said = await stopped_after("trying again in 2 s", [part], capfd)
    assert [line.split("| ")[1] for line in said.splitlines()] == [
        "cannot be started (Bad file descriptor): trying again in 1 s",
        "cannot be started (Bad file descriptor): trying again in 2 s",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has signals without a name")
async def test_a_process_is_restarted_after_a_signal_without_a_name(capfd: pytest.CaptureFixture[str]) -> None:
    part = python("api", "import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 1)")
    said = await stopped_after("starting again in 1 s", [part], capfd)
    assert f"killed by signal {signal.SIGRTMIN + 1}" in said


async def test_a_process_that_cannot_start_stops_all_with_its_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    parts = [python("api", FOREVER), python("worker", "raise SystemExit(2)", stage=1)]
    assert await Supervisor(parts, deadline_s=10).run() == 2
    assert "ended with 2" in capfd.readouterr().out


async def test_a_process_that_has_started_before_is_restarted_after_any_exit(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A process that dies while the ledger is away stops no other."""
    program = f"import os; made = {str(tmp_path / 'made')!r}; there = os.path.exists(made); open(made, 'w').close(); "
    parts = [python("worker", f"{program} raise SystemExit(2 if there else 1)")]
    said = await stopped_after("starting again in 2 s", parts, capfd)
    assert [line.split("| ")[1] for line in said.splitlines()] == [
        "ended with 1", "starting again in 1 s", "ended with 2", "starting again in 2 s",
    ]  # fmt: skip


async def test_a_process_gets_its_input_on_standard_input(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys, signal; print('up', sys.stdin.read(), flush=True); signal.pause()"
    assert "up secret" in await stopped_after("up", [python("redis", program, stdin=b"secret")], capfd)


@pytest.mark.parametrize(("variables", "shown"), [({}, "\033[36ma | \033[0mup\n"), ({"NO_COLOR": "1"}, "a | up\n")])
def test_a_terminal_shows_each_process_in_its_own_colour(variables: dict[str, str], shown: str) -> None:
    program = (
        "import asyncio, sys; from onward.supervisor.supervisor import ProcessSpec, Supervisor, bound;"
        "parts = [ProcessSpec('a', (sys.executable, '-c', 'print(\"up\"); raise SystemExit(2)'))];"
        "raise SystemExit(asyncio.run(Supervisor(parts, deadline_s=5).run()))"
    )
    code, said = on_a_terminal([sys.executable, "-P", "-c", program], variables=environment(**variables))
    assert (code, said.startswith(shown)) == (2, True), said


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a process with its parent on Linux alone")
def test_a_process_whose_parent_ended_while_it_started_does_not_begin() -> None:
    """The kernel reports no death of a parent that happened before the request."""
    command = list(bound((sys.executable, "-c", "print('up')")))
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "up\n"
    command[command.index(str(os.getpid()))] = "1"  # the parent that is gone
    orphan = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (orphan.returncode, orphan.stdout) == (1, "")
    assert orphan.stderr.endswith("the process that started it has ended\n")
