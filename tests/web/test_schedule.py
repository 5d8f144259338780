"""Recurring jobs on the page."""

from playwright.async_api import expect

from tests.web.conftest import Watched
from tests.web.jobs_page import opened


async def test_a_recurring_job_says_when_it_is_due_next(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    row = page.locator("#schedule .queue")
    await expect(row).to_contain_text("leap")
    await expect(row).to_contain_text("steps.process_item at 0 7 29 2 * UTC")
    await expect(row).to_contain_text("next Feb 29, 07:00")
