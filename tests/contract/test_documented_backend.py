"""The backend of docs/adding-a-backend.md, copied as it is, passes every contract test."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onward.backends.base import Delivery, Role
from onward.testing.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PART = "accepted or drain or cancelled_at_once or until_it_succeeds or killed or progress or urgent"
"""One or two contract tests of each kind that a backend can break."""
PAGE = ROOT / "docs" / "adding-a-backend.md"
FILE = r"`(\w+\.py)`:\n\n```python\n(.*?)```"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("selected", "least"), [(PART, 4), pytest.param("", 46, marks=pytest.mark.long)], ids=["part", "all"]
)
def test_the_documented_backend_passes_every_contract_test(selected: str, least: int, tmp_path: Path) -> None:
    """The page's files, run by the page's command, pass some of the tests, and with --long all."""
    found = re.findall(FILE, PAGE.read_text(), re.DOTALL)
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


async def test_the_documented_backend_goes_on_once_its_folder_is_back(tmp_path: Path) -> None:
    """A worker whose look had ended with the folder would run nothing until its next start."""
    spool = dict(re.findall(FILE, PAGE.read_text(), re.DOTALL))["spool.py"]
    module: dict[str, Any] = {"__name__": "spool"}
    exec(compile(spool, "spool.py", "exec"), module)
    folder = tmp_path / "spool"
    ran: list[str] = []

    async def run(job_id: str) -> bool:
        ran.append(job_id)
        return True

    backend = module["Spool"](run, folder=str(folder))
    await backend.start(Role.RUN)
    folder.rmdir()
    await asyncio.sleep(5 * module["POLL_INTERVAL_S"])
    folder.mkdir()
    await backend.deliver([Delivery("job_1", "email.welcome")], after_response=print)
    await until(lambda: "job_1" in ran)
    await backend.drain(1.0)
