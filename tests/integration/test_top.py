"""`onward top`: its figures are those of the ledger, and it gives the terminal back."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from onward.cli import terminal, top, top_figures, top_text
from onward.cli.stats import took
from onward.cli.top_figures import look
from onward.config.settings import Settings, load
from onward.jobs import concurrency, due
from onward.jobs.stats import Span
from onward.jobs.stats_step import DAY_US, HOUR_US, MINUTE_US
from onward.storage.transaction import Tx
from tests import application
from tests.integration.jobs.test_history import fail
from tests.integration.test_worker_commands import enter
from tests.ledgers import accept
from tests.processes import environment

ESCAPE = "\x1b"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A ledger with failed and waiting jobs, a paused handler, and a worker."""
    application.write(tmp_path)
    found = load(tmp_path)
    with terminal.writer_of(found, make=True) as writer:
        for _ in range(2):
            fail(writer, "no answer")
        for _ in range(3):
            writer.run_sync(lambda tx: accept(tx, "email.welcome"))
        writer.run_sync(lambda tx: concurrency.pause(tx, f"steps.item{ESCAPE}", by=None))
    enter(found, "runner_a", "worker")
    return found


def printed(settings: Settings, capsys: pytest.CaptureFixture[str], *, as_json: bool, begin: str = "1h") -> str:
    assert top.show(settings, begin, interval_s=1, as_json=as_json) == 0
    return capsys.readouterr().out


def test_the_figures_are_those_of_the_jobs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(settings, capsys, as_json=True))
    assert found["problem"] is None
    failed, welcome, paused = found["handlers"]
    assert (failed["handler"], failed["enqueued"], failed["started"], failed["failed"]) == ("conformance.job", 2, 2, 2)
    assert failed["run"]["p50"] <= failed["run"]["p95"]
    assert (welcome["handler"], welcome["enqueued"], welcome["depth"], welcome["blocked"]) == ("email.welcome", 3, 3, 0)
    assert found["from"] < welcome["oldestAt"] < found["to"]
    assert (paused["handler"], paused["depth"], paused["oldestAt"]) == (f"steps.item{ESCAPE}", 0, None)
    assert found["paused"] == [paused["handler"]]
    assert (found["counts"]["FAILED"], found["counts"]["QUEUED"], found["counts"]["RUNNING"]) == (2, 3, 0)
    (worker,) = found["workers"]
    assert (worker["id"], worker["running"], worker["handlers"]) == ("runner_a", 0, {})


def test_figures_that_the_history_does_not_have_are_null_and_not_zero(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(printed(settings, capsys, as_json=True, begin="500d"))
    assert found["problem"].startswith("figures of a day are kept for 400 days")
    (welcome,) = (one for one in found["handlers"] if one["handler"] == "email.welcome")
    assert (welcome["enqueued"], welcome["failed"], welcome["depth"]) == (None, None, 3)


def test_a_pipe_gets_them_once_as_a_table(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(settings, capsys, as_json=False, begin="7d")
    assert ESCAPE not in text
    lines = text.splitlines()
    (row,) = (line.split() for line in lines if line.startswith("email.welcome"))
    assert row[1] == "3"
    assert row[4:8] == ["3", "0", "0", "0"]
    assert next(line for line in lines if line.startswith("steps.item")).endswith("paused")
    assert any("at most 5 a day" in line for line in lines)
    assert any(line.startswith("host:runner_a") for line in lines)
    with pytest.raises(ValueError, match="age such as"):
        top.show(settings, "soon", interval_s=1, as_json=False)


@pytest.mark.parametrize("forced", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_pipe_gets_them_once_also_where_colours_are_forced(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, forced: str
) -> None:
    """Rich takes the pipe for a terminal then; a command that follows the figures would never end there."""

    def follow(*_: object) -> None:
        pytest.fail("the figures are followed")

    monkeypatch.setattr(top, "_follow", follow)
    monkeypatch.setenv(forced, "1")
    assert "email.welcome" in printed(settings, capsys, as_json=False)


def test_a_duration_has_the_unit_that_fits_it() -> None:
    durations = (None, 0.0, 0.000123, 0.0456, 0.9996, 1.5, 59.98, 61.0, 5_400.0, 86_399.0, 3 * 86_400.0)
    words = ["-", "0 ms", "0.123 ms", "45.6 ms", "1 s", "1.5 s", "1 min", "1.02 min", "1.5 h", "1 d", "3 d"]
    assert [took(one) for one in durations] == words


@pytest.mark.parametrize(("length", "parts"), [(HOUR_US, 60), (DAY_US, 24), (7 * DAY_US, 7)])
def test_a_time_is_divided_into_dozens_of_parts(settings: Settings, length: int, parts: int) -> None:
    """Each job is in one of them, also where a part is not over yet."""

    def read(tx: Tx) -> Any:
        return look(tx, Span(tx.now - length, tx.now))

    with terminal.ledger_of(settings) as database:
        found = database.read_sync(read)
    assert len(found.parts) in {parts, parts + 1}
    assert sum(part["enqueued"] for part in found.parts) == 5


@pytest.mark.parametrize(("width", "height"), [(80, 18), (80, 24), (140, 15), (200, 60)])
def test_a_screen_shows_as_much_as_it_has_lines_for(settings: Settings, width: int, height: int) -> None:
    """The rows that are left out are counted, and the hint stays."""
    with terminal.writer_of(settings) as writer:
        for n in range(30):
            writer.run_sync(lambda tx, n=n: accept(tx, f"many.h{n:02}"))  # type: ignore[misc]
        found = writer.database.read_sync(lambda tx: look(tx, Span(tx.now - HOUR_US, tx.now + MINUTE_US)))
    console = Console(width=width, height=height, file=StringIO())
    console.print(top_text.screen(found, console, problem=""))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert lines[-1] == "q ends"
    shown = sum(line.startswith(("many.", "email.", "steps.", "conformance.")) for line in lines)
    assert shown > 0
    assert any(f"and {33 - shown} more" in line for line in lines) == (shown < 33)
    assert any(line.startswith("host:runner_a") for line in lines)


def test_a_narrow_screen_cuts_names_and_no_figure(settings: Settings) -> None:
    """A paused handler has a word more in its line."""
    name = "reports.of_the_whole_month"
    with terminal.writer_of(settings) as writer:
        fail(writer, "no answer", handler=name)
        writer.run_sync(lambda tx: concurrency.pause(tx, name, by=None))
        found = writer.database.read_sync(lambda tx: look(tx, Span(tx.now - HOUR_US, tx.now + MINUTE_US)))
    console = Console(width=80, height=24, file=StringIO())
    console.print(top_text.screen(found, console, problem=""))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    (row,) = (line.rstrip() for line in lines if line.startswith("reports."))
    assert row.endswith("paused")
    assert len(re.findall(r" [0-9.]+ (?:ms|s|min|h|d)\b", row)) == 2, row  # a wait and a run


def test_a_backlog_that_takes_long_to_count_is_counted_seldom(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, counted = [100.0], []

    def slow(_tx: Tx) -> list[due.Backlog]:
        counted.append(now[0])
        now[0] += 2
        return []

    monkeypatch.setattr(due, "backlog", slow)
    monkeypatch.setattr(top_figures, "time", SimpleNamespace(monotonic=lambda: now[0]))
    kept = top_figures.KeptBacklog()
    with terminal.ledger_of(settings) as database:
        while now[0] < 180:
            database.read_sync(kept)
            now[0] += 1
    assert counted == [100.0, 142.0]


def test_q_ends_it_and_gives_the_terminal_back(settings: Settings, tmp_path: Path) -> None:
    """The keys are read one by one, and the screen that was there before comes back."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "onward", "--project", str(tmp_path), "top", "--interval", "0.2"]
    variables = environment(TERM="xterm", COLUMNS="120", LINES="30")
    running = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    while shown.count(b"q ends") < 2:
        shown += os.read(ours, 65536)
    os.write(ours, b"xQ")
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # its end is closed
        pass
    os.close(ours)
    assert running.wait() == 0, shown.decode()
    assert b"email.welcome" in shown
    assert shown.index(b"\x1b[?1049h") < shown.index(b"email.welcome") < shown.index(b"\x1b[?1049l")
