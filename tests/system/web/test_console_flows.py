"""Jobs of flows in the console: their output, the form for what they wait for, their batch and children."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.integration.graphql.conftest import serving, settings_in
from tests.integration.graphql.test_output import SPEAK
from tests.system.web.asking import ask
from tests.system.web.conftest import Watched
from tests.system.web.console_page import no_findings, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("console_built")]
MODULES = [
    "tests.integration.graphql.emitting_handlers",
    "tests.system.web.signal_handlers",
    "tests.system.web.flow_handlers",
]
CHILDREN = '{ jobs(filter: {handler: "lines.child"}) { nodes { id done batch { done } } } }'
REVIEW = 'mutation { signalsReview(input: {text: "words"}) { job { id } } }'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server whose handlers emit, wait for signals and make batches."""
    with serving(settings_in(tmp_path_factory.mktemp("project"), handlers={"modules": MODULES})) as address:
        yield f"http://{address}"


async def test_output_is_shown_as_it_comes_and_once(watched: Watched, served: str, tmp_path: Path) -> None:
    """Texts follow each other, any other chunk is a line, and a page that is opened later shows the same."""
    given = {"folder": str(tmp_path), "words": 12, "waits": True}
    job = ask(served, SPEAK, input=given)["speak"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{job}")
    words = '{"word":0}\n1 2 3 4 5 6 7 8 9 \n{"word":10}\n11 '
    output = page.get_by_role("log", name="Output")
    await expect(output).to_have_text(words, use_inner_text=True)
    (tmp_path / "go").touch()
    await expect(page.locator("#job .head")).to_contain_text("Succeeded")
    await expect(output).to_have_text(f"{words}the end", use_inner_text=True)
    await page.reload()
    await expect(output).to_have_text(f"{words}the end", use_inner_text=True)


async def test_a_job_has_a_form_for_what_it_waits_for(watched: Watched, served: str, console_packages: Path) -> None:
    """A wrong value is said at its field; what was typed stays while the job is shown anew."""
    job = ask(served, REVIEW)["signalsReview"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{job}")
    form = page.get_by_role("region", name="Answer: review")
    await expect(form).to_be_visible()
    await expect(page.get_by_text("Waiting for the signal review", exact=True)).to_be_visible()
    await form.get_by_label("Comment").fill("fine")
    await form.get_by_label("Stars").fill("9")
    await form.get_by_label("Grade").select_option("good")
    await form.get_by_label("Approved").check()
    await form.get_by_label("Author").fill('{"name": "Ann"}')
    await form.get_by_role("button", name="Send").click()
    await expect(form.get_by_text("less than or equal to 5")).to_be_visible()
    await expect(form.get_by_label("Comment")).to_have_value("fine")
    await no_findings(page, console_packages)
    await form.get_by_label("Stars").fill("5")
    await form.get_by_role("button", name="Send").click()
    await expect(page.locator("#job .head")).to_contain_text("Succeeded")
    await expect(form).to_be_hidden()
    await expect(page.get_by_role("region", name="Result").last).to_contain_text("True fine 5 good Ann")


async def test_a_job_shows_its_batch_its_parent_and_its_children(watched: Watched, served: str) -> None:
    parent = ask(served, "mutation { linesAll(input: {}) { job { id } } }")["linesAll"]["job"]["id"]  # type: ignore[index]
    nodes: list[dict[str, str]] = []
    while len(nodes) < 3 or not all(node["done"] for node in nodes):
        nodes = ask(served, CHILDREN)["jobs"]["nodes"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{nodes[0]['id']}")
    await expect(page.locator("#job .facts")).to_contain_text("3 of 3 over: 3 succeeded")
    await page.locator("#job .facts").get_by_role("link", name="3 of 3 over").click()
    await expect(page).to_have_title("Batches - Onward")
    await page.go_back()
    await page.get_by_role("link", name="lines.all").click()
    await expect(page.locator("#job .head")).to_contain_text(parent)
    await expect(
        page.get_by_role("table", name="Dispatched jobs").get_by_role("link", name="lines.child")
    ).to_have_count(3)
