"""The pages agree with the code."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from onward.jobs.states import MOVES, JobStatus
from onward.jobs.timings import Timings
from onward.storage.tables import jobs
from tests.docs.fences import fences
from tests.docs.reference import PAGES
from tests.processes import ROOT

ARCHITECTURE = ROOT / "docs" / "architecture.md"
WRITTEN = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def table_under(heading: str) -> list[list[str]]:
    """Return the rows of the first table after a heading of the architecture's page, without their head."""
    _, _, below = ARCHITECTURE.read_text("utf-8").partition(f"\n{heading}")
    lines = below[below.index("\n|") :].strip().partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_moves_matches_the_code() -> None:
    written = {
        JobStatus(source.strip("`")): frozenset(map(JobStatus, re.findall(r"[A-Z]+", targets)))
        for source, targets in table_under("### States, and the moves between them")
    }
    assert written == dict(MOVES)


def test_the_table_of_times_matches_the_code() -> None:
    for name, seconds, _ in table_under("## Times that matter"):
        assert getattr(Timings(), name.strip("`")) == float(seconds), name


def test_the_columns_of_the_table_exist() -> None:
    columns = [name.strip("`") for name, _ in table_under("## The ledger")]
    assert set(columns) <= set(jobs.columns.keys())


def layers() -> list[list[str]]:
    """Return the layers of each contract of that kind: the library's, then the application's."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    return [contract["layers"] for contract in contracts if contract["type"] == "layers"]


def test_the_order_of_the_packages_is_that_of_import_linter() -> None:
    written = ARCHITECTURE.read_text("utf-8")
    assert [order for order in layers() if f"\n{' -> '.join(order)}\n" not in written] == []


@pytest.mark.parametrize(("order", "heading"), [*enumerate(("## The packages", "The application of this repository"))])
def test_every_package_is_in_the_table(order: int, heading: str) -> None:
    named = {package.strip("`/") for package, _ in table_under(heading)}
    configured = {package for layer in layers()[order] for package in layer.split(" | ")} - {"onward"}
    assert configured == named


@pytest.mark.parametrize("page", ["architecture.md", "contributing.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    """A page names it by its path, or by its name in the row of its package."""
    missing = []
    for line in (ROOT / "docs" / page).read_text("utf-8").splitlines():
        row = re.match(r"\| `(\w+)/` \|", line)
        folders = [ROOT, ROOT / "src" / "onward", *([ROOT / "src" / "onward" / row[1], ROOT / row[1]] if row else [])]
        named = re.findall(r"`([\w./-]+(?:\.py|\.toml|/))`", line)
        missing += [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_generated_page_is_up_to_date(page: str) -> None:
    made: Callable[[], str] = PAGES[page]
    assert (ROOT / page).read_text("utf-8") == made(), "run: .venv/bin/python -m tests.docs.reference"


def test_every_relative_link_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in WRITTEN
        for link in LINK.findall(FENCED.sub("", page.read_text("utf-8")))
        if not re.match(r"[a-z]+:", link) and not _leads(page, link)
    ]
    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    """Decisions are many, and found from the pages that they explain."""
    linked = {link.partition("#")[0] for link in LINK.findall((ROOT / "docs" / "index.md").read_text("utf-8"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} - linked == set()


def _leads(page: Path, link: str) -> bool:
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    if not anchor or not target.is_file():
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", target.read_text("utf-8")), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_an_install_from_a_clone_says_where_the_reader_stands() -> None:
    """In the clone `./onward` is the launcher, which pip cannot install."""
    seen = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text("utf-8")
        for found in re.finditer(r'pip install "?\./onward[^\n]*', text):
            seen.add(page.name)
            assert "beside the clone" in text[found.start() : found.end() + 1].replace("`", ""), (page.name, found[0])
        for fence in fences(page):
            if "pip install" in fence.text and "./onward" in fence.text:
                before = fence.text.partition("pip install")[0]
                assert ("git clone ADDRESS onward\n" in re.sub(r" +#.*", "", before), "-m venv .venv" in before) == (
                    True,
                    True,
                ), page.name
    assert seen >= {"README.md", "installing.md", "new-project.md"}
