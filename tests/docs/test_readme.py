"""Pages that a reader types from top to bottom: every command prints the output on the page."""

import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from graphql import parse, print_ast

from onward.storage import migrate
from tests.docs.fences import Fence, fences
from tests.docs.likeness import Ids, alike
from tests.docs.tour import WAIT_TIMEOUT_S, Reader, reading
from tests.processes import ROOT, onward

PAGES = ("README.md", "docs/tour.md", "docs/tutorial.md")
OUTPUTS = {"json", "text"}
COMMANDS = {
    "sh",
    "shell",
    "bash",
    "graphql",
}  # for those that end, one that serves, those that this test does not run, and a schema


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_page_gives_the_shown_output(
    name: str, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    redis = {"ONWARD_BACKENDS__DRAMATIQ__URL": redis_url, "ONWARD_BACKENDS__DRAMATIQ__NAMESPACE": namespace}
    ids = Ids()
    page = fences(ROOT / name)
    with reading(tmp_path, **redis) as reader:
        for fence, following in pairwise([*page, Fence("end", None, "", 0)]):
            if fence.file:
                reader.write(fence)
            elif fence.language == "shell":
                reader.start(fence.text)
            elif fence.language == "sh":
                _typed(name, reader, fence, following.text if following.language in OUTPUTS else "", ids)
        reader.stop()


def _typed(name: str, reader: Reader, fence: Fence, expected: str, ids: Ids) -> None:
    printed = reader.type(fence.text)
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    # Jobs take their time. What changes nothing may be asked again.
    while not alike(expected, printed) and "mutation" not in fence.text and time.monotonic() < deadline:
        time.sleep(0.1)
        printed = reader.type(fence.text)
    assert alike(expected, printed), f"{name}:{fence.line} says\n{expected}\nand it is\n{printed}"
    ids.learn(expected, printed)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_the_page_is_of_a_checked_kind(name: str) -> None:
    page = fences(ROOT / name)
    assert [fence.line for fence in page if not fence.file and fence.language not in COMMANDS | OUTPUTS] == []
    outputs = [(one, two) for one, two in pairwise(page) if two.language in OUTPUTS and not two.file]
    assert [two.line for one, two in outputs if one.language != "sh"] == []


def test_the_pages_show_this_release_s_tables() -> None:
    """Each migration changes the output of `check`; the tour of the whole page is too long for each run."""
    shown = re.findall(
        r"its tables are those of this release \((\d+)\)", "".join((ROOT / p).read_text() for p in PAGES)
    )
    assert set(shown) == {migrate.HEAD}


def test_the_readme_s_function_gives_the_schema_that_it_shows(tmp_path: Path) -> None:
    page = fences(ROOT / "README.md")
    for fence in (fence for fence in page if fence.file):
        file = tmp_path / str(fence.file)
        file.parent.mkdir(exist_ok=True)
        file.write_text(fence.text, "utf-8")
    printed = _members(onward("schema", project=tmp_path / "shop").stdout)
    shown = _members(next(fence.text for fence in page if fence.language == "graphql"))
    assert len(shown) == 15
    assert shown - printed == set()


def _members(sdl: str) -> set[str]:
    """Each field, with its arguments, and each type of a union: one line of text, without descriptions."""
    found = set()
    for definition in parse(sdl).definitions:
        name = definition.name.value if hasattr(definition, "name") else ""
        for member in getattr(definition, "fields", None) or getattr(definition, "types", None) or ():
            plain = re.sub(r'""".*?"""', "", print_ast(member), flags=re.DOTALL)
            found.add(f"{name}." + re.sub(r"[\s,]+", "", plain))
    return found
