"""The list of jobs in the console: filters, pages, and a calm display of many changes."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from onward.jobs import pages
from tests.integration.graphql.conftest import settings_in
from tests.system.web.asking import process
from tests.system.web.conftest import Watched
from tests.system.web.console_page import another_server, no_findings, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]
ROWS = "table.jobs tbody tr"


async def test_the_list_is_filtered_by_status_handler_code_and_time(
    watched: Watched, served: str, console_packages: Path
) -> None:
    failed = process(served, "bell \u0007")
    process(served, "fine")
    page = await opened(watched, served, "#/jobs")
    rows = page.locator(ROWS)
    await page.get_by_role("list", name="Jobs by status").get_by_role("link", name=re.compile("Failed")).click()
    await expect(rows.filter(has_text=failed)).to_be_visible()
    await expect(rows.filter(has_text="Succeeded")).to_have_count(0)
    assert "status=FAILED" in page.url
    await no_findings(page, console_packages)
    await page.get_by_label("Handler; *").fill("email.*")
    await expect(page.get_by_text("No job matches this filter.")).to_be_visible()
    await page.get_by_label("Handler; *").fill("steps.*")
    await page.get_by_label("Error code").fill("INVALID_ITEM")
    await expect(page).to_have_url(re.compile("code=INVALID_ITEM"))  # some moments after the last key
    await page.reload()
    await expect(page.get_by_label("Error code")).to_have_value("INVALID_ITEM")
    await expect(rows.filter(has_text=failed)).to_be_visible()
    await page.get_by_label("Error code").fill("ANOTHER")
    await expect(page.get_by_text("No job matches this filter.")).to_be_visible()
    await page.get_by_role("button", name="Clear").click()
    await expect(rows.filter(has_text="Succeeded").first).to_be_visible()
    later = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
    await page.get_by_label("Accepted after").fill(later)
    await expect(page.get_by_text("No job matches this filter.")).to_be_visible()
    assert "after=" in page.url


async def test_the_list_is_filtered_by_a_parameter(watched: Watched, served: str, console_packages: Path) -> None:
    """The filter is in the address, holds for changes that come in, and for what is done to all that match."""
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wanted, other = process(served, "New York", runAt=soon), process(served, "new york", runAt=soon)
    page = await opened(watched, served, "#/jobs")
    rows, field = page.locator(ROWS), page.get_by_label("Parameter and value")
    await field.fill('item="New York"')
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text(wanted)
    assert "param=item" in page.url
    await no_findings(page, console_packages)
    await page.reload()
    await expect(field).to_have_value('item="New York"')
    await expect(rows).to_have_count(1)
    process(served, "another", runAt=soon)
    newer = process(served, "New York", runAt=soon)
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text(newer)
    await page.get_by_role("button", name="Cancel all that match").click()
    await page.get_by_role("button", name="Cancel 2 jobs").click()
    await expect(page.get_by_text("2 jobs cancelled.")).to_be_visible()
    await page.get_by_role("button", name="Close").click()
    await field.fill("item=New York")
    await expect(page.get_by_role("alert")).to_contain_text("A parameter has a name and a value")
    await expect(page.get_by_role("button", name="Cancel all that match")).to_have_count(0)
    await field.fill("item=nothing")
    await expect(page.get_by_text("No job matches this filter.")).to_be_visible()
    await page.get_by_role("button", name="Clear").click()
    await expect(rows.filter(has_text=other)).to_contain_text("Scheduled")


async def test_a_page_that_has_looked_at_enough_jobs_leads_to_the_next(watched: Watched, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pages, "SLICE", 10)
        patched.setattr(pages, "EXAMINED", 10)
        async with another_server(watched, settings_in(tmp_path)) as served:
            soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
            old = process(served, "old", runAt=soon)
            for number in range(15):
                process(served, f"item {number}", runAt=soon)
            page = await opened(watched, served, "#/jobs?param=item%3Dold")
            await expect(page.get_by_text("None of the jobs looked at so far matches.")).to_be_visible()
            await page.get_by_role("button", name="Older", exact=True).click()
            await expect(page.locator(ROWS)).to_contain_text(old)
            await expect(page.get_by_role("button", name="Older", exact=True)).to_be_disabled()


async def test_the_fields_show_the_filter_after_going_back(watched: Watched, served: str) -> None:
    """The one with the focus, too: what is done to all that match goes by the address."""
    page = await opened(watched, served, "#/jobs")
    field = page.get_by_label("Handler; *")
    await field.fill("email.*")
    await expect(page).to_have_url(re.compile("handler=email"))
    await page.go_back()
    await expect(field).to_have_value("")
    await expect(field).to_be_focused()
    await page.go_forward()
    await expect(field).to_have_value("email.*")


async def test_on_a_phone_the_filter_is_folded_behind_a_button(
    watched: Watched, served: str, console_packages: Path
) -> None:
    process(served, "words")
    await watched.page.set_viewport_size({"width": 390, "height": 844})
    page = await opened(watched, served, "#/jobs?handler=steps.*&after=2026-01-01T12:00:00Z")
    field, button = page.get_by_label("Handler; *"), page.get_by_role("button", name="Filter · 2 set")
    await expect(page.locator(ROWS).first).to_be_visible()
    await expect(field).to_be_hidden()
    await button.click()
    await expect(field).to_have_value("steps.*")
    await expect(button).to_have_attribute("aria-expanded", "true")
    await no_findings(page, console_packages)
    await expect(button).to_be_hidden()


async def test_the_filter_offers_all_handlers(watched: Watched, served: str) -> None:
    """The browser finds the list by its id, which no other element has."""
    page = await opened(watched, served, "#/jobs")
    await expect(page.locator("datalist option[value='email.welcome']")).to_have_count(1)
    assert await page.evaluate("document.getElementById('filter-handler').list?.options.length") >= 3
    ids = await page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


async def test_paging_works_in_both_directions(watched: Watched, served: str) -> None:
    ids = [process(served, f"item {number}") for number in range(60)]
    page = await opened(watched, served, "#/jobs?handler=steps.process_item")
    rows = page.locator(ROWS)
    await expect(rows.first).to_contain_text(ids[-1])
    await expect(rows).to_have_count(25)
    for name, first in (("Older", -26), ("Older", -51), ("Newer", -26), ("Newest", -1)):
        await page.get_by_role("button", name=name, exact=True).click()
        await expect(rows.first).to_contain_text(ids[first])


async def test_a_page_of_the_list_is_kept_in_the_address(watched: Watched, served: str) -> None:
    """Over a reload, over a look at a job, and by Back; another filter begins at the newest job."""
    ids = [process(served, f"item {number}") for number in range(60)]
    page = await opened(watched, served, "#/jobs?handler=steps.process_item")
    rows = page.locator(ROWS)
    await expect(rows.first).to_contain_text(ids[-1])
    older = page.get_by_role("button", name="Older", exact=True)
    await older.click()
    await expect(rows.first).to_contain_text(ids[-26])
    await page.reload()
    await expect(rows.first).to_contain_text(ids[-26])
    await older.click()
    await expect(rows.first).to_contain_text(ids[-51])
    await page.go_back()
    await expect(rows.first).to_contain_text(ids[-26])
    await rows.first.get_by_role("link").click()
    await page.get_by_role("link", name="All jobs").click()
    await expect(rows.first).to_contain_text(ids[-26])
    await page.get_by_label("Handler; *").fill("steps.*")
    await expect(rows.first).to_contain_text(ids[-1])


async def test_scheduled_jobs_are_cancelled_by_the_time_of_their_start(watched: Watched, served: str) -> None:
    near, far = (datetime.now(UTC) + timedelta(days=days) for days in (10, 40))
    jobs = [process(served, "words", runAt=time.isoformat()) for time in (near, far)]
    page = await opened(watched, served, "#/jobs")
    await page.get_by_label("Scheduled after").fill(far.strftime("%Y-%m-%dT00:00:00"))
    rows = page.locator(ROWS)
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text(jobs[1])
    await page.get_by_label("Scheduled before").fill(near.strftime("%Y-%m-%dT00:00:00"))
    await expect(page.get_by_role("alert").filter(has_text="No job is to start after")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel all that match…")).to_have_count(0)
    await page.get_by_label("Scheduled before").fill("")
    await page.get_by_role("button", name="Cancel all that match…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel 1 job").click()
    await expect(page.get_by_role("dialog")).to_contain_text("1 job cancelled.")
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await page.goto(f"{served}/#/jobs/{jobs[0]}")
    await expect(page.locator("#job .head")).to_contain_text("Scheduled")


async def test_a_new_job_does_not_bring_the_newest_page_back(watched: Watched, served: str) -> None:
    """A person has asked for an older page, whose answer is slow."""
    ids = [process(served, f"item {number}") for number in range(26)]
    page = await opened(watched, served, "#/jobs?handler=steps.process_item")
    rows, answered = page.locator(ROWS), asyncio.Event()
    await expect(rows).to_have_count(25)

    async def hold(route: Route) -> None:
        if '"after"' in (route.request.post_data or ""):
            await answered.wait()
        await route.continue_()

    await page.route("**/graphql", hold)
    async with page.expect_request(lambda request: '"after"' in (request.post_data or "")):
        await page.get_by_role("button", name="Older").click()
    process(served, "another")
    await page.wait_for_timeout(2_000)  # the list shows a new job within a second
    answered.set()
    await expect(rows.first).to_contain_text(ids[0])


async def test_new_jobs_come_in_by_themselves_and_wait_while_somebody_points_at_a_row(
    watched: Watched, served: str
) -> None:
    for number in range(25):
        process(served, f"item {number}")
    page = await opened(watched, served, "#/jobs")
    rows = page.locator(ROWS)
    await expect(rows).to_have_count(25)
    await page.mouse.move(5, 5)
    await expect(rows.first).to_contain_text(process(served, "by itself"))
    await rows.nth(3).hover()
    held = await rows.first.text_content()
    job = process(served, "held back")
    await page.get_by_role("button", name=re.compile(r"newer jobs? · show")).click()
    assert job not in str(held)
    await expect(rows.first).to_contain_text(job)


async def test_all_matching_jobs_are_retried(watched: Watched, served: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, "#/jobs?status=FAILED")
    await expect(page.locator(ROWS).filter(has_text=job)).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel all that match…")).to_have_count(0)
    await page.get_by_role("button", name="Retry all that match…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name=re.compile(r"Retry \d+ jobs?")).click()
    await expect(dialog).to_contain_text(re.compile(r"\d+ jobs? retried"))
    await dialog.get_by_role("button", name="Close").click()
    await page.goto(f"{served}/#/jobs/{job}")
    await expect(page.locator("table.attempts tbody tr")).to_have_count(2)


async def test_an_address_with_a_wrong_filter_offers_nothing_to_be_done_to_all(watched: Watched, served: str) -> None:
    """A filter that cannot be read would match more than was meant."""
    process(served, "later", runAt=(datetime.now(UTC) + timedelta(hours=2)).isoformat())
    page = await opened(watched, served, "#/jobs?status=SCHEDULD&handler=steps.*")
    await expect(page.get_by_text("This address holds no filter: status=SCHEDULD")).to_be_visible()
    await expect(page.get_by_role("button", name=re.compile("all that match"))).to_have_count(0)
    await page.get_by_role("link", name="Show all jobs").click()
    await expect(page.locator(ROWS).first).to_be_visible()


async def test_all_matching_jobs_are_cancelled(watched: Watched, served: str) -> None:
    job = process(served, "later", runAt=(datetime.now(UTC) + timedelta(hours=2)).isoformat())
    page = await opened(watched, served, "#/jobs?status=SCHEDULED&handler=steps.*")
    await expect(page.locator(ROWS).filter(has_text=job)).to_be_visible()
    await page.get_by_role("button", name="Cancel all that match…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name=re.compile(r"Cancel \d+ jobs?")).click()
    await expect(dialog).to_contain_text(re.compile(r"\d+ jobs? cancelled"))
    await dialog.get_by_role("button", name="Close").click()
    await page.goto(f"{served}/#/jobs/{job}")
    await expect(page.locator("#job .head")).to_contain_text("Cancelled")


async def test_a_thousand_changes_a_second_keep_the_page_stable(watched: Watched, served: str) -> None:
    for number in range(30):
        process(served, f"item {number}")
    page = watched.page
    await page.add_init_script(path=Path(__file__).with_name("flood.js"))
    await page.goto(f"{served}/#/jobs")
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.get_by_role("button", name=re.compile(r"newer jobs"))).to_be_visible()
    metrics = await page.context.new_cdp_session(page)
    await metrics.send("Performance.enable")
    row = page.locator(ROWS).first
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


async def test_a_long_id_is_shortened_to_show_the_note(watched: Watched, served: str) -> None:
    """The end stays visible, since ids of one day begin alike; a screen reader gets the whole id."""
    job = process(served, "bell \u0007")
    page = await opened(watched, served, "#/jobs")
    row = page.locator("tr", has=page.locator(f'a[title="{job}"]'))
    note, cell = await row.locator(".at-note").bounding_box(), await row.locator(".at-job").bounding_box()
    assert note is not None
    assert cell is not None
    assert note["x"] < cell["x"]
    assert note["width"] > 2 * cell["width"]
    assert await row.locator(".at-job a").text_content() == job
    assert await row.locator(".at-job span:last-child").text_content() == job[-8:]


async def test_states_differ_by_more_than_their_colour(watched: Watched, served: str) -> None:
    page = await opened(watched, served, "#/jobs")
    signs = await page.locator("#counts .status").evaluate_all(
        "found => found.map(one => getComputedStyle(one, '::before').content)"
    )
    assert len(set(signs)) == len(signs) == 9


async def test_a_job_is_opened_and_left_with_the_keyboard(watched: Watched, served: str) -> None:
    """Back in the list, the focus is on the job that was left."""
    job = process(served, "keys")
    page = await opened(watched, served, "#/jobs?handler=steps.process_item")
    link = page.locator(f'a[title="{job}"]')
    await link.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#job h1")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.get_by_role("link", name="← All jobs").press("Enter")
    await expect(link).to_be_focused()
    assert page.url.endswith("#/jobs?handler=steps.process_item")
