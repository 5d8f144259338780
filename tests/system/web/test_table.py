"""The table of jobs: filters, pages, and a calm display of many changes."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import opened, process

pytestmark = pytest.mark.slow


async def test_the_table_is_filtered_by_status_and_handler(watched: Watched, served: str) -> None:
    failed = process(served, "bell \u0007")
    process(served, "fine")
    page = await opened(watched, served)
    rows = page.locator("table.jobs tbody tr")
    await page.get_by_role("button", name=re.compile("Failed")).click()
    await expect(rows.filter(has_text=failed)).to_be_visible()
    await expect(rows.filter(has_text="Succeeded")).to_have_count(0)
    assert "status=FAILED" in page.url
    await page.get_by_label("Handler; *").fill("email.*")
    await expect(page.get_by_text("No job matches this filter.")).to_be_visible()
    await page.get_by_label("Handler; *").fill("steps.*")
    await expect(rows.filter(has_text=failed)).to_be_visible()
    await page.get_by_role("button", name="Clear").click()
    await expect(rows.filter(has_text="Succeeded").first).to_be_visible()


async def test_the_filter_offers_all_handlers(watched: Watched, served: str) -> None:
    """The browser finds the list by its id, which no other element has."""
    await watched.page.goto(served)
    await expect(watched.page.locator("datalist option[value='email.welcome']")).to_have_count(1)
    assert await watched.page.evaluate("document.getElementById('filter-handler').list?.options.length") >= 3
    ids = await watched.page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


async def test_paging_works_in_both_directions(watched: Watched, served: str) -> None:
    ids = [process(served, f"item {number}") for number in range(60)]
    page = await opened(watched, served, "#/?handler=steps.process_item")
    rows = page.locator("table.jobs tbody tr")
    await expect(rows.first).to_contain_text(ids[-1])
    await expect(rows).to_have_count(25)
    await page.get_by_role("button", name="Older").click()
    await expect(rows.first).to_contain_text(ids[-26])
    await page.get_by_role("button", name="Older").click()
    await expect(rows.first).to_contain_text(ids[-51])
    await page.get_by_role("button", name="Newer").click()
    await expect(rows.first).to_contain_text(ids[-26])
    await page.get_by_role("button", name="Newest").click()
    await expect(rows.first).to_contain_text(ids[-1])


async def test_a_new_job_does_not_bring_the_newest_page_back(watched: Watched, served: str) -> None:
    """A person has asked for an older page, whose answer is slow."""
    ids = [process(served, f"item {number}") for number in range(26)]
    page = await opened(watched, served, "#/?handler=steps.process_item")
    rows, answered = page.locator("table.jobs tbody tr"), asyncio.Event()
    await expect(rows).to_have_count(25)

    async def hold(route: Route) -> None:
        if '"after"' in (route.request.post_data or ""):
            await answered.wait()
        await route.continue_()

    await page.route("**/graphql", hold)
    async with page.expect_request("**/graphql"):
        await page.get_by_role("button", name="Older").click()
    process(served, "another")
    await page.wait_for_timeout(2_000)  # the table shows a new job within a second
    answered.set()
    await expect(rows.first).to_contain_text(ids[0])


async def test_all_matching_jobs_are_retried(watched: Watched, served: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, "#/?status=FAILED")
    await expect(page.locator("table.jobs tbody tr").filter(has_text=job)).to_be_visible()
    await page.get_by_role("button", name="Retry all that match…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retry them").click()
    await expect(page.get_by_role("alert")).to_contain_text(re.compile(r"\d+ jobs? retried"))
    await page.goto(f"{served}/#/jobs/{job}")
    await expect(page.locator("table.attempts tbody tr")).to_have_count(2)


async def test_a_thousand_changes_a_second_keep_the_page_stable(watched: Watched, served: str) -> None:
    for number in range(30):
        process(served, f"item {number}")
    page = watched.page
    await page.add_init_script(path=Path(__file__).with_name("flood.js"))
    await page.goto(served)
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.get_by_role("button", name=re.compile(r"newer jobs"))).to_be_visible()
    metrics = await page.context.new_cdp_session(page)
    await metrics.send("Performance.enable")
    row = page.locator("table.jobs tbody tr").first
    first = await row.text_content()

    async def layouts() -> tuple[float, float]:
        measured = await metrics.send("Performance.getMetrics")
        named = {metric["name"]: metric["value"] for metric in measured["metrics"]}
        return named["LayoutCount"], named["Timestamp"]

    (count, began), sent = await layouts(), await page.evaluate("flooded")
    await page.wait_for_timeout(3_000)
    (later, ended), sent_later = await layouts(), await page.evaluate("flooded")
    assert later - count < 12 * (ended - began)
    assert sent_later - sent > 20 * (later - count)  # as many of the thousand as a busy machine manages
    assert await row.text_content() == first
