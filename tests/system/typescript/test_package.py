"""clients/typescript: its types, its own tests, its size, and the code of docs/frontend.md."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.fences import fences
from tests.processes import ROOT
from tests.system.clients.conftest import MODULES, PACKAGE, Run

HERE = Path(__file__).resolve().parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]  # the first of them may install packages
MAX_BYTES = 7_000


@pytest.fixture(scope="module")
def package(node: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with the packages of tests/system/clients."""
    folder = tmp_path_factory.mktemp("package") / "onward-client"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (folder / "node_modules").symlink_to(MODULES)
    return folder


def run(folder: Path, *command: str) -> str:
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert output.returncode == 0, output.stdout[-5000:] + output.stderr[-3000:]
    return output.stdout


def test_its_types_hold(package: Path) -> None:
    run(package, "npm", "run", "check")


def test_its_own_tests_pass(package: Path) -> None:
    run(package, "npm", "test")


def test_it_is_small_and_needs_no_other_package_at_run_time(node: Run) -> None:
    """Measured as a page loads it: all entries in one file each, minified and compressed."""
    built = MODULES / "onward-client"
    size = 0
    for entry in json.loads((built / "package.json").read_text("utf-8"))["exports"].values():
        options = ("--bundle", "--minify", "--format=esm", "--packages=external")
        size += len(gzip.compress(run(built, str(MODULES / ".bin" / "esbuild"), entry["default"], *options).encode()))
    assert size <= MAX_BYTES
    assert "dependencies" not in json.loads((PACKAGE / "package.json").read_text("utf-8"))


def test_its_packages_are_the_tested_ones() -> None:
    """The package's lock is a part of that of the tests: the same versions, by their digests, and no addresses."""
    mine, tested = (
        json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
        for folder in (PACKAGE, MODULES.parent)
    )
    named = json.loads((PACKAGE / "package.json").read_text("utf-8"))
    assert mine.pop("")["devDependencies"] == named["devDependencies"]
    known = {(path.rpartition("node_modules/")[2], one.get("integrity")) for path, one in tested.items()}
    assert [
        path for path, one in mine.items() if (path.rpartition("node_modules/")[2], one["integrity"]) not in known
    ] == []
    assert not any("resolved" in one for one in mine.values())


def test_the_code_of_the_page_holds_with_the_types_of_the_schema(node: Run, tmp_path: Path) -> None:
    """docs/frontend.md: its configuration generates the types, and the rest is checked by them."""
    source = tmp_path / "src"
    source.mkdir()
    for fence in fences(ROOT / "docs" / "frontend.md"):
        if fence.file:
            (tmp_path if fence.file == "codegen.ts" else source).joinpath(fence.file).write_text(fence.text, "utf-8")
    (source / "session.ts").write_text(
        "export const savedToken = () => 'saved';\nexport const freshToken = async () => 'fresh';\n", "utf-8"
    )
    shutil.copy(ROOT / "gql" / "schema.graphql", tmp_path)
    shutil.copy(HERE / "page" / "tsconfig.json", tmp_path)
    settings = json.loads((tmp_path / "tsconfig.json").read_text("utf-8"))
    (tmp_path / "tsconfig.json").write_text(json.dumps({**settings, "include": ["src", "codegen.ts"]}), "utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    (tmp_path / "node_modules").symlink_to(MODULES)
    run(tmp_path, "node", "node_modules/@graphql-codegen/cli/cjs/bin.js")
    run(tmp_path, "node", "node_modules/typescript/bin/tsc")
