"""The explorer in a real browser without internet access."""

import asyncio
import re

import pytest
from playwright.async_api import Page, Route, expect

from onward.web import pages
from tests.system.web.conftest import Watched

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("explorer_built")]  # its first test may build it


async def opened(watched: Watched, served: str) -> Page:
    await watched.page.goto(f"{served}/graphql")
    await expect(watched.page.locator(".graphiql-query-editor")).to_contain_text("mutation registerUser")
    return watched.page


async def open_tab(page: Page, name: str) -> None:
    await page.get_by_role("tab", name=name).click()
    await expect(page.locator(".graphiql-query-editor")).to_contain_text(f"{name}(")


async def execute(page: Page) -> None:
    await page.get_by_role("button", name=re.compile("Execute")).click()


async def set_id(page: Page, job: str) -> None:
    """Put the job's id in place of its placeholder; the editor closes brackets typed by hand."""
    await page.get_by_role("region", name="Variables").get_by_text("job_").dblclick()
    await page.keyboard.insert_text(job)


@pytest.mark.slow
async def test_the_explorer_opens_offline_with_a_tab_for_each_operation(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    for name in ("registerUser", "sendNotification", "processItem", "jobUpdated"):
        await expect(page.get_by_role("tab", name=name)).to_be_visible()
    await expect(page.get_by_role("button", name="Headers")).to_be_visible()
    await page.get_by_role("button", name=re.compile("Documentation Explorer")).click()
    await expect(
        page.get_by_role("link", name="Mutation", exact=True).or_(page.get_by_text("Mutation", exact=True)).first
    ).to_be_visible()


@pytest.mark.slow
async def test_the_first_tab_can_be_run_unchanged(watched: Watched, served: str) -> None:
    """The tab's variables are there, and are kept when the page is opened again."""
    page = await opened(watched, served)
    variables = page.get_by_role("region", name="Variables")
    await expect(variables).to_contain_text("ada@example.com")
    await variables.get_by_text("ada@example.com").dblclick()
    await page.keyboard.insert_text("grace")
    await execute(page)
    await expect(page.locator(".result-window")).to_contain_text(re.compile(r"job_\w+|ALREADY_EXISTS"))
    async with asyncio.timeout(15):  # it is kept a moment after it was typed
        while "grace" not in await page.evaluate("() => localStorage['onward:explorer:graphiql:tabState'] ?? ''"):
            await asyncio.sleep(0.05)
    await page.reload()
    await expect(variables).to_contain_text("grace")
    await expect(page.get_by_role("tab")).to_have_count(4)


@pytest.mark.slow
async def test_a_mutation_runs_and_its_subscription_reaches_the_end(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await open_tab(page, "processItem")
    await execute(page)
    answer = page.locator(".result-window")
    await expect(answer).to_contain_text(re.compile(r"job_\w+"))
    found = re.search(r"job_\w+", await answer.inner_text())
    assert found is not None
    await open_tab(page, "jobUpdated")
    await set_id(page, found.group())
    await execute(page)
    await expect(answer).to_contain_text("SUCCEEDED")


@pytest.mark.slow
async def test_on_a_phone_the_response_is_below_the_request(watched: Watched, served: str) -> None:
    """The width has no space for both."""
    await watched.page.set_viewport_size({"width": 400, "height": 900})
    page = await opened(watched, served)
    sent, answer = [await page.locator(f".graphiql-{part}").bounding_box() for part in ("editors", "response")]
    assert sent is not None
    assert answer is not None
    assert answer["y"] >= sent["y"] + sent["height"]
    assert min(sent["width"], answer["width"]) > 250
    assert answer["y"] + answer["height"] <= 900


@pytest.mark.slow
async def test_without_a_build_and_without_the_internet_it_says_so(watched: Watched, served: str) -> None:
    page = watched.page
    html, _ = pages._from_cdn()

    async def unbuilt(route: Route) -> None:
        await route.fulfill(status=200, headers={"Content-Type": "text/html; charset=utf-8"}, body=html)

    await page.route(f"{served}/graphql", unbuilt)
    await page.goto(f"{served}/graphql")
    await expect(page.get_by_role("status")).to_contain_text("could not be reached")
    assert watched.abroad
    assert all(url.startswith("https://cdn.jsdelivr.net/npm/") for url in watched.abroad)
    watched.abroad.clear()
    watched.complaints.clear()
