"""The console: its frame, and its overview."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from onward.web import build, pages
from tests.system.web.conftest import Watched
from tests.system.web.console_page import no_findings, opened
from tests.system.web.jobs_page import process
from tests.system.web.test_pages import directives, get

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]


def test_its_policy_allows_only_its_own_origin(served: str) -> None:
    status, headers, body = get(f"{served}/console")
    policy = directives(headers["content-security-policy"])
    assert status == 200
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert b"style=" not in body


def test_without_a_build_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "STATIC", tmp_path)
    words = bytes(pages.console("graphql").body).decode()
    assert "python -m onward.web.build console" in words
    assert 'href="./"' in words


async def test_the_jobs_page_and_the_console_lead_to_each_other(watched: Watched, served: str) -> None:
    page = watched.page
    await page.goto(f"{served}/")
    await page.get_by_role("link", name="Console").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await page.get_by_role("link", name="Jobs page").click()
    await expect(page.get_by_role("heading", name="Send a job")).to_be_visible()


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


async def test_an_unknown_address_leads_back(watched: Watched, served: str) -> None:
    page = await opened(watched, served, "#/nothing")
    await page.get_by_role("main").get_by_role("link", name="Overview").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
