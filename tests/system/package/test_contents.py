"""The published files have the package and nothing else; the sdist gives the same wheel as the tree."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

from tests.processes import ROOT
from tests.system.package.fixtures import Package, hatchling

BUNDLES = ("console", "explorer")

pytestmark = pytest.mark.slow


@pytest.fixture
def names(package: Package) -> list[PurePosixPath]:
    with ZipFile(package.wheel) as wheel:
        return [PurePosixPath(name) for name in wheel.namelist()]


def test_the_wheel_has_one_top_level_name(names: list[PurePosixPath]) -> None:
    tops = {name.parts[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"onward"}
    assert len(tops) == 2


def test_the_wheel_holds_every_file_of_the_package(names: list[PurePosixPath]) -> None:
    """The console and the explorer are there as they were built, without their sources."""
    tracked = subprocess.run(
        ["git", "ls-files", "src", "backends"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    there = [PurePosixPath(name) for name in tracked if (ROOT / name).is_file()]
    wanted = {
        PurePosixPath("onward", name) if name.parts[0] == "backends" else name.relative_to("src") for name in there
    }
    sources = ("onward/web/console", "onward/web/explorer")
    left_out = {name for name in wanted if any(map(name.is_relative_to, sources)) or name.name == ".gitignore"}
    inside = {name for name in names if name.parts[0] == "onward"}
    built = {name for name in inside if any(name.is_relative_to(f"onward/web/static/{one}") for one in BUNDLES)}
    assert inside - built == wanted - left_out
    for bundle in BUNDLES:
        of_it = {name for name in built if name.parts[3] == bundle}
        assert {"current.json", "manifest.json"} <= {name.name for name in of_it}
        assert len({name.parts[4] for name in of_it}) == 2  # the build that is shown, and the word of which it is


def test_the_sdist_gives_the_same_wheel_without_npm(package: Package, tmp_path: Path) -> None:
    with tarfile.open(package.sdist) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    hatchling(source, "-t", "wheel", "-d", str(tmp_path), PATH="/nowhere")
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == package.wheel.read_bytes()


def test_without_npm_an_unbuilt_tree_says_what_is_missing(package: Package, tmp_path: Path) -> None:
    with tarfile.open(package.sdist) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for bundle in BUNDLES:
        shutil.rmtree(source / "src/onward/web/static" / bundle)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    away = {"PATH": "/nowhere"}
    output = subprocess.run(command, cwd=source, env=away, capture_output=True, text=True, check=False)
    assert output.returncode == 1
    assert "npm was not found: install Node.js" in output.stdout + output.stderr
    assert "HATCH_BUILD_NO_HOOKS=true" in output.stdout + output.stderr
    hatchling(source, "-t", "wheel", "-d", str(tmp_path), HATCH_BUILD_NO_HOOKS="true", **away)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as found:
        assert not [name for name in found.namelist() if any(f"/static/{bundle}/" in name for bundle in BUNDLES)]
