"""The log lines of a job in the console."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.integration.graphql.conftest import serving, settings_in
from tests.system.web.asking import ask
from tests.system.web.conftest import Watched
from tests.system.web.console_page import no_findings, opened
from tests.system.web.test_console_work import MODULES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]
LOG = "mutation($input: WorkLogInput!) { workLog(input: $input) { job { id } } }"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(settings_in(tmp_path_factory.mktemp("project"), **MODULES)) as address:
        yield f"http://{address}"


def write_lines(served: str, **given: object) -> str:
    return str(ask(served, LOG, input=given)["workLog"]["job"]["id"])  # type: ignore[index]


async def test_the_lines_of_a_running_job_come_as_they_are_written(
    watched: Watched, served: str, tmp_path: Path, console_packages: Path
) -> None:
    """A second attempt has a heading of its own; a control is shown as its escape, and markup as text."""
    page = await opened(watched, served, f"#/jobs/{write_lines(served, lines=2, go=str(tmp_path / 'go'))}")
    lines = page.get_by_role("list", name=re.compile("^Log, "))
    await expect(lines.get_by_text("line 1", exact=True)).to_be_visible()
    await expect(lines).to_contain_text(r"<b>\x1b[31mred\u202e</b>")
    await expect(page.locator("#job .head .status")).to_have_text("Running")
    (tmp_path / "go").touch()
    await expect(page.locator("#job .head .status")).to_have_text("Succeeded")
    await expect(lines.get_by_text("the last one")).to_be_visible()
    await expect(lines).to_contain_text("ValueError: broke")
    await expect(lines.locator(".heading")).to_have_text(["Attempt 1", "Attempt 2"])
    await no_findings(page, console_packages)
    await page.get_by_label("Level").select_option("Error and above")
    await expect(lines.locator("[data-level]")).to_have_count(1)
    await expect(lines.locator("[data-level]")).to_contain_text("handler raised step=write_lines")


async def test_older_lines_are_shown_on_demand(watched: Watched, served: str) -> None:
    page = await opened(watched, served, f"#/jobs/{write_lines(served, lines=300)}")
    lines = page.get_by_role("list", name=re.compile("^Log, "))
    await expect(lines.locator("[data-level]")).to_have_count(200)
    await lines.scroll_into_view_if_needed()
    await expect(lines.get_by_text("the last one")).to_be_in_viewport()
    await page.get_by_role("button", name="Older lines").click()
    await expect(lines.get_by_text("line 0", exact=True)).to_have_count(2)
    await expect(lines.locator("[data-level]")).to_have_count(604)
    await expect(page.get_by_role("button", name="Older lines")).to_be_hidden()


async def test_a_job_that_has_logged_nothing_has_no_such_part(watched: Watched, served: str) -> None:
    keep = "mutation { workKeep(input: {extra: {}}) { job { id } } }"
    job = ask(served, keep)["workKeep"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.locator("#job .head .status")).to_have_text("Succeeded")
    await expect(page.get_by_role("heading", name="Log", exact=True)).to_be_hidden()
