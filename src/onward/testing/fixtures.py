"""Fixtures for pytest: `pytest_plugins = ("onward.testing.fixtures",)` in a conftest.py makes them known.

| | |
|---|---|
| `onward_immediate` | the application under test; a job has run when the mutation answers |
| `onward_recording` | the application under test; no job runs, and `delivered` lists the deliveries |
| `onward_tables` | override it to set tables of settings.toml for the two above, such as `{"handlers": {...}}` |
| `backend_fixture` | override it to bring a backend to the conformance suite |
| `harness` | the running backend, with one worker |

`rig` and `stand` are the names of the last two in release 0.1. They work for one more release, with a warning.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from onward.runtime import former_names
from onward.testing import app
from onward.testing.app import TestApp
from onward.testing.backend_fixture import BackendFixture
from onward.testing.harness import Harness, open_harness


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Put the project's folder at the end of the import path, as its processes do."""
    former_names.install()
    project = os.environ.get("ONWARD_PROJECT")
    if project and project not in sys.path:
        sys.path.append(project)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def onward_tables() -> Mapping[str, Any]:
    """No tables: the defaults."""
    return {}


@pytest.fixture
async def onward_immediate(
    onward_tables: Mapping[str, Any],
    tmp_path: Path,
    anyio_backend: str,  # noqa: ARG001 - asked for by being named
) -> AsyncIterator[TestApp]:
    """The application whose jobs run when they are delivered."""
    async with app.running("immediate", tmp_path, onward_tables) as running:
        yield running


@pytest.fixture
async def onward_recording(
    onward_tables: Mapping[str, Any],
    tmp_path: Path,
    anyio_backend: str,  # noqa: ARG001 - asked for by being named
) -> AsyncIterator[TestApp]:
    """The application whose jobs are recorded and wait."""
    async with app.running("recording", tmp_path, onward_tables) as running:
        yield running


@pytest.fixture(scope="module")
def backend_fixture(request: pytest.FixtureRequest) -> BackendFixture:
    """The backend that the conformance suite tests: a test module defines a fixture of this name.

    This one finds a fixture of the old name, `rig`.
    """
    try:
        found: BackendFixture = request.getfixturevalue("rig")
    except pytest.FixtureLookupError:
        raise LookupError("define a fixture backend_fixture, as docs/adding-a-backend.md shows") from None
    warnings.warn("rename the fixture rig to backend_fixture", DeprecationWarning, stacklevel=1)
    return found


@pytest.fixture(scope="module")
async def project_harness(
    backend_fixture: BackendFixture,
    tmp_path_factory: pytest.TempPathFactory,
    anyio_backend: str,  # noqa: ARG001 - asked for by being named
) -> AsyncIterator[Harness]:
    """The harness that all tests of a module share, one for each backend fixture."""
    async with open_harness(backend_fixture, tmp_path_factory.mktemp(backend_fixture.name)) as opened:
        yield opened


@pytest.fixture
async def harness(project_harness: Harness, tmp_path: Path) -> Harness:
    """The harness with one worker running, and a folder for this test."""
    project_harness.folder = tmp_path
    await project_harness.ready()
    return project_harness


@pytest.fixture
def stand(harness: Harness) -> Harness:
    """Return `harness` under its old name."""
    warnings.warn("rename the fixture stand to harness", DeprecationWarning, stacklevel=1)
    return harness
