"""The short run of `python -m tests.system.fuzz`."""

import subprocess
import time
from pathlib import Path

import pytest

from tests import application
from tests.processes import running
from tests.system.fuzz.attack import attack

SHORT_S = 10


def resident_kb(pid: int) -> int:
    output = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(output.stdout)


@pytest.mark.slow
async def test_hostile_requests_and_frames_get_an_answer_and_do_no_harm(tmp_path: Path) -> None:
    application.write(tmp_path)
    with running("serve", "--port", "0", project=tmp_path) as server:
        address = server.serving().removeprefix("http://")
        outcome = await attack(address, 100_000, seed=int(time.time()), until=time.monotonic() + SHORT_S)
        assert server.process.poll() is None
        assert not outcome.wrong, outcome.wrong[:5]
        assert outcome.cases > 100
        assert "Traceback" not in server.output()
