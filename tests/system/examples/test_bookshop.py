"""examples/bookshop: its own tests pass before and after Onward comes in, on both databases.

`test_bookshop_servers.py` runs them against the installed package under each server.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.fences import fences
from tests.processes import ROOT, onward, pytest_in

BOOKSHOP = ROOT / "examples" / "bookshop"
LEFT_OUT = shutil.ignore_patterns("var", "__pycache__", ".*cache", "node_modules", "dist", "made")
MAX_CHANGED_LINES = 59
NEW_BESIDE_THE_DIFF = ("tests/test_jobs.py", "README.md", "page")


@pytest.fixture
def bookshop(tmp_path: Path) -> Path:
    """A copy, so that no file is left in the repository."""
    return Path(shutil.copytree(BOOKSHOP, tmp_path / "bookshop", ignore=LEFT_OUT))


@pytest.fixture
def before(bookshop: Path) -> Path:
    """The bookshop before Onward came in: without the lines of the page's diff."""
    apply(bookshop, "--reverse")
    for name in NEW_BESIDE_THE_DIFF:
        path = bookshop / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return bookshop


def diff() -> str:
    (found,) = (fence.text for fence in fences(ROOT / "docs" / "fastapi.md") if fence.language == "diff")
    return found


def apply(folder: Path, *options: str) -> None:
    command = ["git", "apply", *options, "-"]
    done = subprocess.run(command, cwd=folder, input=diff(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run_tests(folder: Path, *arguments: str, **variables: str) -> int:
    """Run the tests of a bookshop; return the number of those that passed."""
    run = pytest_in(folder, "-q", *arguments, **variables)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    return int(passed[1])


def test_the_diff_on_the_page_is_all_that_onward_needs(before: Path) -> None:
    """The diff has under 60 lines, and leads from an application without a word of Onward to the one in examples/."""
    changed = [line for line in diff().splitlines() if re.match(r"[+-](?!\+\+ |-- )", line)]
    assert len(changed) <= MAX_CHANGED_LINES
    files = [file for file in before.rglob("*") if file.is_file()]
    assert [file for file in files if "onward" in file.read_text("utf-8").lower()] == []
    apply(before)
    for file in before.rglob("*"):
        if file.is_file():
            assert file.read_text("utf-8") == (BOOKSHOP / file.relative_to(before)).read_text("utf-8")


def test_an_order_is_confirmed_by_a_job(bookshop: Path) -> None:
    assert run_tests(bookshop, "-k", "is_confirmed") == 1


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_tests_pass(bookshop: Path, database: str, request: pytest.FixtureRequest) -> None:
    variables = {}
    if database == "postgresql":
        url = str(request.getfixturevalue("postgres_url"))
        variables["DATABASE_URL"] = url.replace("postgresql://", "postgresql+asyncpg://")
        assert onward("migrate", project=bookshop, ONWARD_DATABASE__URL=url).returncode == 0
    assert run_tests(bookshop, **variables) >= 11


@pytest.mark.slow
def test_all_tests_of_the_application_before_pass(before: Path) -> None:
    assert run_tests(before) >= 7
