"""The ends of jobs, as clients see them."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from onward.testing import app
from onward.testing.app import TestApp

TABLES = {"handlers": {"modules": ["onward.testing.workload"]}}


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[TestApp]:
    async with app.running("recording", tmp_path, TABLES) as running:
        yield running


async def test_a_job_shows_when_it_expires(recording: TestApp, tmp_path: Path) -> None:
    """A job without an expiry has none."""
    for handler, span in (("conformance.fleeting", timedelta(hours=1)), ("conformance.note", None)):
        job = await recording.accept(handler, folder=str(tmp_path))
        answer = await recording.graphql("query($id: ID!) { job(id: $id) { createdAt expiresAt } }", id=job.id)
        found = answer["data"]["job"]
        times = [None if time is None else datetime.fromisoformat(time) for time in found.values()]
        created, expires = times
        assert created is not None
        assert (None if expires is None else expires - created) == span
