"""The backend of docs/adding-a-backend.md, copied as it is, passes every contract test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PART = "accepted or drain or cancelled_at_once or until_it_succeeds or killed or progress or urgent"
"""One or two contract tests of each kind that a backend can break."""
PAGE = ROOT / "docs" / "adding-a-backend.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("selected", "least"), [(PART, 4), pytest.param("", 46, marks=pytest.mark.long)], ids=["part", "all"]
)
def test_the_documented_backend_passes_every_contract_test(selected: str, least: int, tmp_path: Path) -> None:
    """The page's files, run by the page's command, pass some of the tests, and with --long all."""
    found = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in found] == ["spool.py", "test_spool.py"]
    for name, text in found:
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            str(tmp_path / "test_spool.py"),
            "-q",
            "-x",
            "-k",
            selected,
            "-p",
            "no:cacheprovider",
            "-p",
            "no:valkey",
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= least
    assert "skipped" not in run.stdout
