"""The console's sources: their types, their own tests, and the files that are generated from the schema."""

import shutil
import subprocess
from pathlib import Path

import pytest

from onward.web import build, documents
from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def sources(console_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the console and of all that its sources read, at their places, and with its packages."""
    root = tmp_path_factory.mktemp("clone")
    folder = root / build.CONSOLE.sources.relative_to(ROOT)
    shutil.copytree(build.CONSOLE.sources, folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(build.STATIC / "shared", root / build.STATIC.relative_to(ROOT) / "shared")
    shutil.copytree(documents.OPERATIONS, root / documents.OPERATIONS.relative_to(ROOT))
    shutil.copytree(ROOT / "gql", root / "gql", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "node_modules").symlink_to(console_packages)
    return folder


def run(folder: Path, *command: str) -> None:
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert output.returncode == 0, output.stdout[-5000:] + output.stderr[-3000:]


def test_the_generated_files_are_those_of_the_schema(sources: Path) -> None:
    before = {path.name: path.read_text("utf-8") for path in (sources / "src/generated").iterdir()}
    shutil.rmtree(sources / "src/generated")
    (sources / "src/generated").mkdir()
    run(sources, "npm", "run", "generate")
    assert {path.name: path.read_text("utf-8") for path in (sources / "src/generated").iterdir()} == before


def test_its_types_hold(sources: Path) -> None:
    run(sources, "npm", "run", "check")


def test_its_own_tests_pass(sources: Path) -> None:
    run(sources, "npm", "test")
