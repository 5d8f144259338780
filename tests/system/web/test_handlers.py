"""Handlers that are paused and resumed on the page."""

import pytest
from playwright.async_api import expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import opened, process

pytestmark = pytest.mark.slow

HANDLER = "steps.process_item"


async def test_a_handler_is_paused_and_resumed_by_its_button(watched: Watched, served: str) -> None:
    """A job of the handler says what it waits for, and runs once the handler is resumed."""
    page = await opened(watched, served)
    await page.locator("#handlers-box > summary").click()
    row = page.locator(f'#handlers [data-handler="{HANDLER}"]')
    await row.get_by_role("button", name="Pause").click()
    await expect(row).to_contain_text("paused since")
    await expect(page.locator("#handlers-box > summary")).to_contain_text("1 paused")
    job = process(served, "words that wait")
    await page.goto(f"{served}/#/jobs/{job}")
    await expect(page.locator("#job .callout").first).to_contain_text(f"the handler {HANDLER} to be resumed")
    await page.goto(f"{served}/#/")
    await row.get_by_role("button", name="Resume").click()
    await expect(row.get_by_role("button", name="Pause")).to_be_visible()
    await expect(row).not_to_contain_text("paused")
    await page.goto(f"{served}/#/jobs/{job}")
    await expect(page.locator("#job")).to_contain_text("Succeeded")
