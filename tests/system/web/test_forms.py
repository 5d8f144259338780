"""Each form of the jobs page, and the job that it sends, followed to its end."""

import re
from uuid import uuid4

import pytest
from playwright.async_api import expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import followed, opened


@pytest.mark.slow
async def test_registering_a_user_is_followed_to_its_end(watched: Watched, served: str) -> None:
    name = f"grace{uuid4().hex[:8]}"  # nobody's yet: the tests of the explorer register users with the same server
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Register").click()
    form = page.get_by_role("tabpanel")
    await form.get_by_label("Username").fill(name)
    await form.get_by_label("E-mail").fill(f"{name}@example.com")
    await page.keyboard.press("Enter")
    await expect(followed(page)).to_contain_text("email.welcome")
    await expect(followed(page)).to_contain_text("Succeeded")
    await expect(form.get_by_label("Username")).to_have_value("")


@pytest.mark.slow
async def test_a_notification_is_followed_to_its_end(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Notify").click()
    await page.get_by_role("button", name="Send notification").click()
    await expect(followed(page)).to_contain_text("logging.write")
    await expect(followed(page)).to_contain_text("Succeeded")


async def test_an_item_is_followed_step_by_step(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Process").click()
    await page.get_by_role("button", name="Process item").click()
    for step in ("validate", "analyse", "store"):
        await expect(followed(page).get_by_role("listitem").filter(has_text=step)).to_contain_text("succeeded")
    await expect(page.locator("table.jobs tbody tr").first).to_contain_text("Succeeded")


async def test_an_error_is_shown_at_its_field(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Register").click()
    form = page.get_by_role("tabpanel")
    await form.get_by_label("Username").fill("lin")
    await form.get_by_label("E-mail").fill("nobody")
    await form.get_by_role("button", name="Register user").click()
    await expect(form.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    await expect(form.get_by_label("E-mail")).to_be_focused()
    await expect(form.get_by_label("E-mail")).to_have_accessible_description(re.compile(r"\w+"))
    await expect(followed(page)).to_have_count(0)


@pytest.mark.slow
async def test_the_arrow_keys_move_between_tabs(watched: Watched, served: str) -> None:
    page = await opened(watched, served)
    await page.get_by_role("tab", name="Register").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Notify")).to_be_focused()
    await expect(page.get_by_role("button", name="Send notification")).to_be_visible()
