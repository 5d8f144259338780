"""Fixtures for pytest: `pytest_plugins = ("onward.testing.fixtures",)` in a conftest.py makes them known.

| | |
|---|---|
| `onward_immediate` | the application, whose jobs have run when a mutation answers |
| `onward_recording` | the application, whose jobs do not run; `delivered` tells what would have |
| `onward_tables` | to be overridden: tables of settings.toml for the two above, such as `{"handlers": {...}}` |
| `stand` | for the conformance suite, which asks for a fixture `rig` |
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from onward.testing import app
from onward.testing.app import TestApp
from onward.testing.backend_fixture import BackendFixture
from onward.testing.harness import Harness, harness


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Under `./onward test`, modules of the project can be imported, last of all, as in its processes."""
    project = os.environ.get("ONWARD_PROJECT")
    if project and project not in sys.path:
        sys.path.append(project)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def onward_tables() -> Mapping[str, Any]:
    """Nothing but the defaults."""
    return {}


@pytest.fixture
async def onward_immediate(
    onward_tables: Mapping[str, Any],
    tmp_path: Path,
    anyio_backend: str,  # noqa: ARG001 - asked for by being named
) -> AsyncIterator[TestApp]:
    """Jobs have run when they are delivered."""
    async with app.running("immediate", tmp_path, onward_tables) as running:
        yield running


@pytest.fixture
async def onward_recording(
    onward_tables: Mapping[str, Any],
    tmp_path: Path,
    anyio_backend: str,  # noqa: ARG001 - asked for by being named
) -> AsyncIterator[TestApp]:
    """Jobs are written down, and wait."""
    async with app.running("recording", tmp_path, onward_tables) as running:
        yield running


@pytest.fixture(scope="module")
async def project_stand(
    rig: BackendFixture,
    tmp_path_factory: pytest.TempPathFactory,
    anyio_backend: str,  # noqa: ARG001 - asked for by being named
) -> AsyncIterator[Harness]:
    """The stand that all laws of a module share, for each rig one."""
    async with harness(rig, tmp_path_factory.mktemp(rig.name)) as stand:
        yield stand


@pytest.fixture
async def stand(project_stand: Harness, tmp_path: Path) -> Harness:
    """The stand with one worker up, and a folder of this law's own."""
    project_stand.folder = tmp_path
    await project_stand.ready()
    return project_stand
