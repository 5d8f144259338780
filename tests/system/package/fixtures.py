"""The package, built once for all tests, and environments in which it is installed."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from onward.web import build
from onward.web.base import BuildFailed
from tests.processes import ROOT
from tests.system.package import environments
from tests.system.package.environments import Environment


@dataclass(frozen=True)
class Package:
    """The published files."""

    wheel: Path
    sdist: Path


@pytest.fixture(scope="session")
def bundles() -> None:
    """Build the console and the explorer, as the package needs them."""
    try:
        for bundle in build.BUNDLES:
            bundle.build()
    except BuildFailed as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def package(bundles: None, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Build the sdist and the wheel of this tree."""
    folder = tmp_path_factory.mktemp("package")
    hatchling(ROOT, "-d", str(folder))
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Package(wheel, sdist)


def hatchling(source: Path, *options: str, **variables: str) -> None:
    """Build the project in the folder."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *options],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def base(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with `pip install onward`, and no extra."""
    return environments.make(tmp_path_factory.mktemp("base") / "venv", package.wheel)


@pytest.fixture(scope="session")
def tested(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with `pip install onward[testing]`."""
    return environments.make(tmp_path_factory.mktemp("tested") / "venv", package.wheel, "testing")
