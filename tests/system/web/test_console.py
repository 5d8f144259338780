"""The console: its frame, and its overview."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, expect

from onward.web import build, pages
from tests.system.web.asking import process
from tests.system.web.conftest import Watched
from tests.system.web.console_page import no_findings, opened
from tests.system.web.test_operators import change_answers
from tests.system.web.test_pages import directives, get

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]


def test_its_policy_allows_only_its_own_origin(served: str) -> None:
    status, headers, body = get(f"{served}/")
    policy = directives(headers["content-security-policy"])
    assert status == 200
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert b"<script>" not in body
    assert b"style=" not in body


def test_without_a_build_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "STATIC", tmp_path)
    words = bytes(pages.console("graphql").body).decode()
    assert "python -m onward.web.build console" in words
    assert "onward jobs list" in words
    assert 'href="static/shared/base.css"' in words


async def test_the_overview_shows_what_happened_and_keeps_it_over_a_reload(
    watched: Watched, served: str, console_packages: Path
) -> None:
    process(served, "fine")
    process(served, "bell \u0007")
    page = await opened(watched, served, "#/?range=day")
    table = page.get_by_role("table", name="Figures by handler")
    row = table.get_by_role("row").filter(has_text="steps.process_item")
    for _ in range(2):
        await expect(row.locator(".at-failed")).to_have_text(re.compile("[1-9]"))
        await expect(page.get_by_role("link", name="Last day")).to_have_attribute("aria-current", "true")
        await expect(page.get_by_role("img", name=re.compile(r"Last day: \d+ jobs? accepted"))).to_be_visible()
        await expect(page.get_by_role("region", name="Errors of the last day")).to_contain_text("INVALID_ITEM")
        await page.reload()
    await no_findings(page, console_packages)


async def test_the_overview_leads_to_one_handler_and_to_the_jobs_of_an_error(watched: Watched, served: str) -> None:
    failed = process(served, "bell \u0007")
    page = await opened(watched, served)
    table = page.get_by_role("table", name="Figures by handler")
    await table.get_by_role("link", name="Run p95").click()
    await expect(table.get_by_role("columnheader", name="Run p95")).to_have_attribute("aria-sort", "descending")
    await table.get_by_role("link", name="steps.process_item").click()
    await expect(table.get_by_role("row")).to_have_count(2)
    assert "handler=steps.process_item" in page.url
    assert "sort=run95" in page.url
    await page.get_by_role("link", name="All handlers instead of steps.process_item").click()
    assert "handler" not in page.url
    await page.get_by_role("region", name="Errors of the last hour").get_by_role("link", name="INVALID_ITEM").click()
    assert "code=INVALID_ITEM" in page.url
    await expect(page.locator("table.jobs tbody tr").first).to_contain_text(failed)


async def test_errors_that_the_history_does_not_tell_apart_lead_to_no_jobs(watched: Watched, served: str) -> None:
    """No job has the code that stands for them."""
    further = {
        "handler": "video.cut",
        "code": "OTHER",
        "message": "further errors of this hour",
        "count": 7,
        "lastAt": "2030-01-31T09:00:00Z",
    }

    def add(data: dict[str, Any]) -> None:
        if "failures" in data:
            data["failures"] = [further]

    await change_answers(watched.page, add)
    page = await opened(watched, served)
    errors = page.get_by_role("region", name="Errors of the last hour")
    await expect(errors).to_contain_text(re.compile("video.cut.*Further errors"))
    await expect(errors.get_by_role("link")).to_have_count(0)


async def test_figures_of_another_time_stand_in_for_none(watched: Watched, served: str) -> None:
    """Figures of an hour are not shown as those of a week that cannot be loaded."""
    page = await opened(watched, served)
    await expect(page.get_by_role("region", name="By handler, in the last hour")).to_be_visible()
    error = {"message": "The ledger is away.", "extensions": {"code": "UNAVAILABLE"}}

    async def answer(route: Route) -> None:
        asked = route.request.post_data or ""
        refused = any(f"query {name}(" in asked for name in ("overview", "course"))
        await (route.fulfill(json={"errors": [error]}) if refused else route.continue_())

    await page.route("**/graphql", answer)
    await page.get_by_role("link", name="Last week").click()
    await expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("The ledger is away.")
    await expect(page.get_by_role("region", name=re.compile("By handler"))).to_have_count(0)
    await expect(page.get_by_role("img", name=re.compile("^Last week: .$"))).to_have_count(2)
    await page.unroute("**/graphql", answer)
    await page.get_by_role("button", name="Ask again").click()
    await expect(page.get_by_role("region", name="By handler, in the last week")).to_be_visible()


async def test_an_unknown_address_leads_back(watched: Watched, served: str) -> None:
    page = await opened(watched, served, "#/nothing")
    await page.get_by_role("main").get_by_role("link", name="Overview").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_an_address_of_the_page_before_leads_to_the_list(watched: Watched, served: str) -> None:
    """The page before had its filter at the address of the overview."""
    page = await opened(watched, served, "#/?status=FAILED&handler=email.*")
    await expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    assert page.url.endswith("#/jobs?status=FAILED&handler=email.*")
    await expect(page.get_by_label("Handler; *")).to_have_value("email.*")


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_content_overflows_the_page(watched: Watched, served: str, width: int, scheme: str) -> None:
    page = watched.page
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.set_viewport_size({"width": width, "height": 900})
    job = process(served, "word " * 200)
    for place in ("#/", "#/jobs", f"#/jobs/{job}"):
        await opened(watched, served, place)
        await page.reload()
        await page.wait_for_timeout(500)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
