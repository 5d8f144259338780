"""The console's pages for operators: handlers, processes, schedules."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.system.web.asking import ask, process
from tests.system.web.conftest import Watched
from tests.system.web.console_page import no_findings, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]

HANDLER = "steps.process_item"
STATUS = "query($id: ID!) { job(id: $id) { status } }"


async def change_answers(page: Page, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the data of the server's answers before the page gets them."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        content = await response.json()
        change(content["data"])
        await route.fulfill(response=response, body=json.dumps(content))

    await page.route("**/graphql", answer)


async def test_a_handler_is_paused_and_resumed(watched: Watched, served: str, console_packages: Path) -> None:
    """A job of it waits meanwhile, which the row says, and runs then."""
    process(served, "words")
    page = await opened(watched, served, "#/handlers")
    row = page.locator(f'[data-handler="{HANDLER}"]')
    await row.get_by_role("button", name=f"Pause {HANDLER}").click()
    await expect(row).to_contain_text("paused since")
    await expect(page.get_by_role("heading", name=re.compile(r"\d+ handlers, 1 paused"))).to_be_visible()
    job = process(served, "words that wait")
    await expect(row.locator(".at-waiting")).to_contain_text("1 held back")
    await no_findings(page, console_packages)
    await page.goto(f"{served}/#/?handler={HANDLER}")
    await expect(page.get_by_text(f"Paused: {HANDLER} since")).to_be_visible()
    await expect(page.get_by_text("These numbers are of all handlers")).to_be_visible()
    await no_findings(page, console_packages)
    await page.goto(f"{served}/#/?handler=email.welcome")
    await expect(page.get_by_text("Paused: ")).to_have_count(0)
    await page.goto(f"{served}/#/handlers")
    await row.get_by_role("button", name=f"Resume {HANDLER}").click()
    await expect(row).not_to_contain_text("paused")
    await expect(row.locator(".at-waiting")).to_have_text("0")
    assert ask(served, STATUS, id=job) == {"job": {"status": "SUCCEEDED"}}
    await expect(row.locator(".at-run")).to_have_text(re.compile(r"\d m?s"))


async def test_handlers_are_shown_in_the_order_of_the_address(watched: Watched, served: str) -> None:
    process(served, "bell \u0007")
    page = await opened(watched, served, "#/handlers?range=day")
    first = page.locator("[data-handler]").first
    await expect(first).to_have_attribute("data-handler", "email.welcome")
    await page.get_by_role("link", name="Failed", exact=True).click()
    for _ in range(2):
        await expect(first).to_have_attribute("data-handler", HANDLER)
        await page.reload()
    assert "sort=failed" in page.url
    assert "range=day" in page.url
    await first.locator(".at-failed a").click()
    assert f"#/jobs?handler={HANDLER}&status=FAILED&finishedAfter=" in page.url
    await expect(page.get_by_role("row").filter(has_text=HANDLER).first).to_contain_text("Failed")


async def test_a_process_says_what_it_runs_and_a_refused_drain_says_why(
    watched: Watched, served: str, console_packages: Path
) -> None:
    """Beside the server's own there is one in the answer that has just ended."""
    page = watched.page
    since = "2030-01-31T09:00:00Z"

    def add(data: dict[str, Any]) -> None:
        if "workers" in data:
            own = data["workers"][0]
            worker = {
                **own,
                "id": "runner_gone",
                "name": "elsewhere:7",
                "role": "worker",
                "version": "0",
                "running": 12,
                "queues": ["default", "gpu"],
            }
            data["workers"].append(worker)
            worker["jobs"] = [{"id": "job_x", "handler": "video.cut", "attempts": [{"startedAt": since}]}]

    await change_answers(page, add)
    await opened(watched, served, "#/workers")
    own = page.locator("[data-worker]").first
    await expect(own).to_contain_text("API, and its background jobs")
    await expect(own).to_contain_text("drains when it is stopped")
    await expect(own.locator(".at-memory")).to_have_text(re.compile(r"\d+ MB"))
    await expect(own.locator(".at-queues")).to_have_text("default")
    worker = page.locator('[data-worker="runner_gone"]')
    await expect(worker.locator(".at-queues")).to_have_text("default, gpu")
    await expect(worker.get_by_role("link", name="video.cut")).to_have_attribute("href", "#/jobs/job_x")
    await expect(worker).to_contain_text("11 more")
    await no_findings(page, console_packages)
    drain = worker.get_by_role("button", name="Drain elsewhere:7")
    await drain.click()
    await page.get_by_role("dialog").get_by_role("button", name="Leave it").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(worker.get_by_role("alert")).to_have_count(0)
    await drain.click()
    await page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    await expect(worker.get_by_role("alert")).to_contain_text("There is no such worker")


async def test_the_owners_of_jobs_are_shown_and_lead_to_theirs(
    watched: Watched, served: str, console_packages: Path
) -> None:
    """Open servers have none, so one is in the answer."""
    page, job = watched.page, process(served, "owned")

    def own(data: dict[str, Any]) -> None:
        for one in data.get("jobs", {}).get("nodes", ()):
            if one["id"] == job:
                one["owner"] = "ada & bob"

    await change_answers(page, own)
    await opened(watched, served, "#/jobs")
    owner = page.get_by_role("table").get_by_role("link", name="ada & bob")
    await expect(owner).to_have_attribute("href", "#/jobs?owner=ada+%26+bob")
    await no_findings(page, console_packages)


async def test_a_schedule_is_made_run_paused_and_deleted(watched: Watched, served: str, console_packages: Path) -> None:
    page = await opened(watched, served, "#/schedules")
    await page.get_by_text("New schedule").click()
    form = page.locator(".new-schedule")
    await form.get_by_label("Name").fill("made in the console")
    await form.get_by_label("Handler").select_option(HANDLER)
    await form.get_by_label("Times:").fill("often")
    await form.get_by_label("Time zone").fill("Europe/Berlin")
    await form.get_by_label("While its last job").select_option("SKIP")
    await form.get_by_label("Parameters").fill('{"items": "x"}')
    make = form.get_by_role("button", name="Make schedule")
    await make.click()
    await expect(form.locator("#new-params-error")).to_contain_text("item")
    await expect(form.get_by_label("Parameters")).to_have_attribute("aria-invalid", "true")
    await form.get_by_label("Parameters").fill('{"item": "x"}')
    await make.click()
    await expect(form.locator("#new-cron-error")).to_contain_text("is no cron expression")
    await no_findings(page, console_packages)
    await form.get_by_label("Times:").fill("0 7 29 2 *")
    await make.click()
    await expect(form.get_by_role("status")).to_have_text("made in the console is made.")
    row = page.locator('[data-schedule="made in the console"]')
    await expect(row.locator(".at-times")).to_contain_text("0 7 29 2 * Europe/Berlin")
    await expect(row).to_contain_text("skips while its last job goes on")
    await expect(row.locator(".at-last")).to_have_text("no tick yet")
    await row.get_by_role("button", name="Pause").click()
    await expect(row.locator(".at-next")).to_contain_text("paused since")
    await row.get_by_role("button", name="Resume").click()
    await expect(row.locator(".at-next")).to_contain_text("29")
    await expect(row.get_by_role("listitem")).to_have_count(0)
    await row.get_by_text("Next times").press("Enter")
    await expect(row.get_by_role("listitem")).to_have_count(5)
    await expect(row.get_by_role("listitem").nth(4)).to_contain_text("2044")
    await no_findings(page, console_packages)
    await page.set_viewport_size({"width": 1280, "height": 900})
    await row.get_by_role("button", name="Run made in the console").click()
    address = await row.get_by_role("link", name="its job").get_attribute("href")
    assert address is not None
    assert ask(served, STATUS, id=address.rpartition("/")[2])["job"]
    await row.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)
    settings = page.locator('[data-schedule="leap"]')
    await expect(settings).to_contain_text("settings")
    await expect(settings.get_by_role("button", name="Delete")).to_have_count(0)


@pytest.mark.parametrize("page_name", ["handlers", "workers", "schedules"])
async def test_others_than_admins_are_told_so(watched: Watched, served: str, page_name: str) -> None:
    """Nothing of it is asked in their name."""
    asked: list[str] = []

    def lower(data: dict[str, Any]) -> None:
        asked.extend(data)
        if "viewer" in data:
            data["viewer"] = {"id": "ada", "roles": []}

    await change_answers(watched.page, lower)
    page = await opened(watched, served, f"#/{page_name}")
    await expect(page.get_by_role("main")).to_contain_text("are for admins")
    assert set(asked) == {"system", "viewer"}
