"""Recurring jobs on the page."""

from calendar import isleap
from collections.abc import Awaitable
from datetime import UTC, datetime
from itertools import count

import pytest
from playwright.async_api import Page, expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import ask, opened

pytestmark = pytest.mark.slow


def fill(page: Page, field: str, value: str) -> Awaitable[None]:
    return page.locator(f"#createSchedule-{field}").fill(value)


async def test_a_schedule_is_made_run_paused_and_deleted_by_its_buttons(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    new = page.locator("#schedule-new")
    await new.get_by_text("New schedule").click()
    await fill(page, "name", "made on the page")
    await page.locator("#createSchedule-handler").select_option("steps.process_item")
    await fill(page, "cron", "often")
    await fill(page, "timeZone", "Europe/Berlin")
    await fill(page, "params", '{"items": "x"}')
    make = new.get_by_role("button", name="Make schedule")
    await make.click()
    await expect(new.locator("#createSchedule-params-error")).to_contain_text("item")
    await fill(page, "params", '{"item": "x"}')
    await make.click()
    await expect(new.locator("#createSchedule-cron-error")).to_contain_text("is no cron expression")
    await fill(page, "cron", "0 7 29 2 *")
    await make.click()
    await expect(new.locator(".said")).to_have_text("made on the page is made.")
    row = page.locator('#schedule [data-schedule="made on the page"]')
    await expect(row).to_contain_text("steps.process_item at 0 7 29 2 * Europe/Berlin")
    await row.get_by_role("button", name="Pause").click()
    await expect(row).to_contain_text("paused since")
    await row.get_by_role("button", name="Resume").click()
    await expect(row).to_contain_text("next Feb 29")
    newest = "{ jobs(first: 1) { nodes { id } } }"
    before = ask(served, newest)
    await row.get_by_role("button", name="Run").click()
    await expect(page.locator("#announcer")).to_have_text("made on the page: accepted a job")
    assert ask(served, newest) != before
    await row.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)
    settings = page.locator('#schedule [data-schedule="leap"]')
    await expect(settings.get_by_role("button", name="Delete")).to_have_count(0)


async def test_a_recurring_job_says_when_it_is_due_next(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    row = page.locator('#schedule [data-schedule="leap"]')
    await expect(row).to_contain_text("leap")
    await expect(row).to_contain_text("steps.process_item at 0 7 29 2 * UTC")
    now = datetime.now(UTC)
    due = next(year for year in count(now.year) if isleap(year) and datetime(year, 2, 29, 7, tzinfo=UTC) > now)
    await expect(row).to_contain_text("next Feb 29, 07:00" if due == now.year else f"next Feb 29, {due}, 07:00")
