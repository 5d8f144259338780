"""The messages on the page."""

import pytest
from playwright.async_api import expect

from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import ask, opened

pytestmark = pytest.mark.slow

REGISTER = "mutation($input: RegisterUserInput!) { registerUser(input: $input) { job { id } } }"


async def test_a_message_is_shown_as_plain_text(watched: Watched, served: str) -> None:
    """The recipient's name looks like markup."""
    answer = ask(served, REGISTER, input={"username": "<b>letter</b>", "email": "letter@example.com"})
    job = answer["registerUser"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served)
    await page.locator("#sent-emails > summary").click()
    email = page.locator(f"[data-email={job}]")
    await expect(email.locator("summary")).to_contain_text("to letter@example.com")
    await email.locator("summary").click()
    await expect(email.locator("pre")).to_contain_text("Hello <b>letter</b>,")
