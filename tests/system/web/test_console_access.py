"""The console without a mouse, and for screen readers."""

from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from tests.system.web.asking import process
from tests.system.web.conftest import Watched
from tests.system.web.console_page import opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]

CONTROLS = {
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "checkbox",
    "tab",
    "table",
    "dialog",
    "img",
    "progressbar",
}
FOCUSED = """() => {
  const it = document.activeElement, style = getComputedStyle(it);
  return {
    name: it.textContent.trim() || it.name || it.id,
    seen: style.outlineStyle !== 'none' || style.boxShadow !== 'none',
    body: it === document.body,
    job: it.closest('table.jobs') !== null,
  };
}"""
STOPS = 80


async def accessible_names(page: Page) -> list[tuple[str, str]]:
    """Return the accessibility tree: roles and names."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    nodes: list[dict[str, Any]] = [node for node in tree["nodes"] if not node.get("ignored")]
    return [(node.get("role", {}).get("value", ""), node.get("name", {}).get("value", "")) for node in nodes]


@pytest.mark.parametrize("place", ["", "jobs", "job"])
async def test_every_control_and_text_has_an_accessible_name(watched: Watched, served: str, place: str) -> None:
    job = process(served, "bell \u0007")
    page = await opened(watched, served, f"#/jobs/{job}" if place == "job" else f"#/{place}")
    await expect(page.get_by_text("Failed").filter(visible=True).first).to_be_visible()
    await expect(page.locator("table").first).to_be_visible()
    found = await accessible_names(page)
    assert {role for role, _ in found} >= {"button", "link", "heading", "table"}
    assert [role for role, name in found if role in CONTROLS and not name.strip()] == []
    assert [name for role, name in found if role == "RootWebArea"] != [""]


async def walk(page: Page, key: str, value: object) -> str:
    """Press Tab until the focus matches, checking that it is always visible; return the element's name."""
    for _ in range(STOPS):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(FOCUSED)
        assert focused["body"] or focused["seen"], focused
        if focused[key] == value:
            return str(focused["name"])
    pytest.fail(f"{key} {value} is not reached")


async def test_a_job_is_sent_and_opened_with_the_keyboard_only(watched: Watched, served: str) -> None:
    """A user is registered, and the job is followed to its end."""
    name = f"keys{uuid4().hex[:8]}"
    page = await opened(watched, served, "#/send/registerUser")
    await expect(page.get_by_label("username")).to_be_visible()
    await walk(page, "name", "Skip to the content")
    await page.keyboard.press("Enter")
    await walk(page, "name", "username")
    await page.keyboard.type(name)
    await page.keyboard.press("Tab")
    await page.keyboard.type(f"{name}@example.com")
    await page.keyboard.press("Enter")
    sent = page.get_by_role("region", name="Sent from here").get_by_role("listitem")
    await expect(sent).to_contain_text("email.welcome")
    await expect(sent).to_contain_text("Succeeded")
    await page.keyboard.press("Home")
    await page.evaluate("document.activeElement.blur()")
    await walk(page, "name", "Jobs")
    await page.keyboard.press("Enter")
    await expect(page.locator("table.jobs tbody tr").first).to_be_visible()
    job = await walk(page, "job", value=True)
    await page.keyboard.press("Enter")
    await expect(page.locator("#job")).to_contain_text(job)


async def test_an_error_is_shown_at_its_field(watched: Watched, served: str) -> None:
    page = await opened(watched, served, "#/send/registerUser")
    await page.get_by_label("username").fill("lin")
    await page.get_by_label("email").fill("nobody")
    await page.get_by_role("button", name="Send").click()
    email = page.get_by_label("email")
    await expect(email).to_have_attribute("aria-invalid", "true")
    await expect(email).to_be_focused()
    await expect(page.get_by_role("region", name="Sent from here").get_by_role("listitem")).to_have_count(0)
