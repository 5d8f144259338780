"""A test that goes on after its time limit is named, and its run ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, environment

IN_THE_TEST = """
import time
from contextlib import suppress

import pytest

@pytest.mark.timeout(0.2)
def test_that_hangs():
    with suppress(BaseException):
        time.sleep(60)
    time.sleep(60)
"""
IN_THE_CLEAN_UP = """
import time

import pytest

@pytest.fixture
def slow():
    yield
    time.sleep(60)

@pytest.mark.timeout(0.2)
def test_that_hangs(slow):
    time.sleep(60)
"""
HASTY = """
from tests import hangs

pytest_plugins = ("tests.hangs",)
hangs.GRACE_S = 0.3
"""


@pytest.mark.parametrize("processes", [[], ["-n1"]], ids=["one process", "a process for tests"])
@pytest.mark.parametrize(("text", "place"), [(IN_THE_TEST, "test_that_hangs"), (IN_THE_CLEAN_UP, "slow")])
def test_a_test_that_hangs_is_shown_and_its_process_ends(
    text: str, place: str, processes: list[str], tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    (tmp_path / "conftest.py").write_text(HASTY, "utf-8")
    (tmp_path / "test_it.py").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *processes, str(tmp_path)],
        env=environment() | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"in {place}\n" in done.stderr
