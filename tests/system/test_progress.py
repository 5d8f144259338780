"""Progress bars on terminals only."""

import subprocess
import sys

import pytest

from tests.processes import environment
from tests.terminals import on_a_terminal

LONG = """
import time
from onward.cli import progress_bar
progress_bar.SHOW_AFTER_S = 0.0
with progress_bar.bar("copying", 100) as show:
    show(40)
    {wait}
    print("a line", flush=True)
with progress_bar.bar("asking", 100, done=lambda: 70):
    {wait}
"""
TERMINAL = environment(TERM="xterm", COLUMNS="80")


def python(program: str) -> list[str]:
    return [sys.executable, "-P", "-c", program]


def test_a_bar_shows_progress_and_keeps_lines_whole() -> None:
    code, shown = on_a_terminal(python(LONG.format(wait="input()")), variables=TERMINAL, seen=(" 40%", " 70%"))
    assert code == 0
    assert "copying" in shown
    assert "a line\n" in shown


def test_short_work_shows_no_bar() -> None:
    quick = 'from onward.cli import progress_bar\nwith progress_bar.bar("copying", 100):\n    print("done")\n'
    assert on_a_terminal(python(quick), variables=TERMINAL) == (0, "done\n")


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}])
def test_nothing_is_drawn_into_a_pipe(variables: dict[str, str]) -> None:
    long = python(LONG.format(wait="time.sleep(0.3)"))
    piped = subprocess.run(long, env={**TERMINAL, **variables}, capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("a line\n", "")
