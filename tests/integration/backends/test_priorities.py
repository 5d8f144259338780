"""A handler's priority comes from the settings, by the most specific pattern, and stays with its jobs."""

from pathlib import Path

import pytest

from onward.testing import app
from tests import application

QUEUES = {"*": {"priority": -7}, "logging.*": {"priority": 5}, "logging.write": {"priority": 9}}


@pytest.mark.anyio
async def test_a_job_is_accepted_and_delivered_with_its_handler_s_priority(tmp_path: Path) -> None:
    """The ledger and the backends have the smaller number first."""
    async with app.running("recording", tmp_path, application.tables({"queues": QUEUES})) as running:
        words = await running.accept("steps.process_item", item="words")
        line = await running.accept("logging.write", email="a@example.com", message="m")
        assert (words.priority, line.priority) == (7, -9)
        assert [delivery.priority for delivery in running.delivered] == [7, -9]
