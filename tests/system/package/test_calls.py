"""Type checkers: each wrong call in calls.txt is an error at its line, and no right one is."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.system.package import environments

CALLS = Path(__file__).parent / "calls.txt"
WRONG = {number for number, line in enumerate(CALLS.read_text().splitlines(), start=1) if line.endswith("# wrong")}


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    copy = tmp_path / "calls.py"
    copy.write_text(CALLS.read_text())
    return copy


@pytest.mark.timeout(300)  # without the cache that the linters leave, mypy reads every library
def test_mypy_finds_each_wrong_call(calls: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(calls)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {int(line) for line in re.findall(r"calls\.py:(\d+): error", done.stdout)}
    assert found == WRONG, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.timeout(900)
def test_pyright_finds_each_wrong_call(calls: Path, tmp_path: Path) -> None:
    checker = environments.empty(tmp_path / "pyright")
    environments.install(checker, "basedpyright")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "include": ["calls.py"]}')
    command = ("basedpyright", "--pythonpath", sys.executable, "--level", "error", "--outputjson")
    done = checker.run(*command, project=tmp_path)
    found = {one["range"]["start"]["line"] + 1 for one in json.loads(done.stdout)["generalDiagnostics"]}
    assert found == WRONG, done.stdout + done.stderr
