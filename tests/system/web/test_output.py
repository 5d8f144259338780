"""The output of a job on its own view, as it comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.integration.graphql.conftest import serving, settings_in
from tests.integration.graphql.test_output import HANDLERS, SPEAK
from tests.system.web.conftest import Watched
from tests.system.web.jobs_page import ask, opened

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server whose handlers emit."""
    with serving(settings_in(tmp_path_factory.mktemp("project"), **HANDLERS)) as address:
        yield f"http://{address}"


def speak(served: str, folder: Path, words: int) -> str:
    given = {"folder": str(folder), "words": words, "waits": True}
    return str(ask(served, SPEAK, input=given)["speak"]["job"]["id"])  # type: ignore[index]


async def test_output_is_shown_as_it_comes_and_once(watched: Watched, served: str, tmp_path: Path) -> None:
    """Texts follow each other, any other chunk is a line, and a page that is opened later shows the same."""
    job = speak(served, tmp_path, 12)
    page = await opened(watched, served, f"#/jobs/{job}")
    words = '{"word":0}\n1 2 3 4 5 6 7 8 9 \n{"word":10}\n11 '
    output = page.get_by_role("log", name="Output")
    await expect(output).to_have_text(words, use_inner_text=True)
    (tmp_path / "go").touch()
    await expect(page.locator("#job .head")).to_contain_text("Succeeded")
    await expect(output).to_have_text(f"{words}the end", use_inner_text=True)
    await page.reload()
    await expect(output).to_have_text(f"{words}the end", use_inner_text=True)


async def test_a_job_without_output_has_no_such_part(watched: Watched, served: str) -> None:
    mutation = 'mutation { processItem(input: {item: "quiet"}) { job { id } } }'
    job = ask(served, mutation)["processItem"]["job"]["id"]  # type: ignore[index]
    page = await opened(watched, served, f"#/jobs/{job}")
    await expect(page.locator("#job .head")).to_contain_text("Succeeded")
    await expect(page.get_by_role("log", name="Output")).to_be_hidden()
