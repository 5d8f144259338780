"""Recurring jobs on the page."""

from calendar import isleap
from datetime import UTC, datetime
from itertools import count

import pytest
from playwright.async_api import expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import opened

pytestmark = pytest.mark.slow


async def test_a_recurring_job_says_when_it_is_due_next(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    row = page.locator("#schedule .queue")
    await expect(row).to_contain_text("leap")
    await expect(row).to_contain_text("steps.process_item at 0 7 29 2 * UTC")
    now = datetime.now(UTC)
    due = next(year for year in count(now.year) if isleap(year) and datetime(year, 2, 29, 7, tzinfo=UTC) > now)
    await expect(row).to_contain_text("next Feb 29, 07:00" if due == now.year else f"next Feb 29, {due}, 07:00")
