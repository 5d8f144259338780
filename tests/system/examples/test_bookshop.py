"""examples/bookshop: its own tests pass on both databases."""

import re
import shutil
from pathlib import Path

import pytest

from tests.processes import ROOT, pytest_in

BOOKSHOP = ROOT / "examples" / "bookshop"
LEFT_OUT = shutil.ignore_patterns("var", "__pycache__", ".*cache", "node_modules", "dist", "made")


@pytest.fixture
def bookshop(tmp_path: Path) -> Path:
    """A copy, so that no file is left in the repository."""
    return Path(shutil.copytree(BOOKSHOP, tmp_path / "bookshop", ignore=LEFT_OUT))


def run_tests(folder: Path, *arguments: str, **variables: str) -> int:
    """Run the tests of a bookshop; return the number of those that passed."""
    run = pytest_in(folder, "-q", *arguments, **variables)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    return int(passed[1])


def test_an_order_is_confirmed(bookshop: Path) -> None:
    assert run_tests(bookshop, "-k", "is_confirmed") == 1


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_of_its_tests_pass(bookshop: Path, database: str, request: pytest.FixtureRequest) -> None:
    variables = {}
    if database == "postgresql":
        url = str(request.getfixturevalue("postgres_url"))
        variables["DATABASE_URL"] = url.replace("postgresql://", "postgresql+asyncpg://")
    assert run_tests(bookshop, **variables) >= 7
