"""One job on its own view: cancelled, retried."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import opened, process

pytestmark = pytest.mark.slow


async def test_a_scheduled_job_is_cancelled(watched: Watched, served: str) -> None:
    job = process(served, "later", runAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.get_by_text(re.compile("Waiting for its time"))).to_be_visible()
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_role("dialog").get_by_label("Reason (optional)").fill("changed my mind")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    await expect(page.locator("#job .head")).to_contain_text("Cancelled")
    await expect(page.get_by_role("button", name="Cancel…")).to_be_hidden()


async def test_a_failed_job_is_retried(watched: Watched, served: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.locator("#job .head")).to_contain_text("Failed")
    attempts = page.locator("table.attempts tbody tr")
    await expect(attempts).to_have_count(1)
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(attempts).to_have_count(2)
    await expect(page.locator("#job .head")).to_contain_text("Failed")
    await page.get_by_role("button", name="Retry from start").click()
    await expect(attempts).to_have_count(3)
