"""Fixtures for pytest: `pytest_plugins = ("testkit.fixtures",)` in a conftest.py makes them known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from testkit.rig import Rig
from testkit.stand import Stand, standing

pytest.register_assert_rewrite("testkit.laws")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def project_stand(
    rig: Rig,
    tmp_path_factory: pytest.TempPathFactory,
    anyio_backend: str,  # noqa: ARG001 - asked for by being named
) -> AsyncIterator[Stand]:
    """The stand that all laws of a module share, for each rig one."""
    async with standing(rig, tmp_path_factory.mktemp(rig.name)) as stand:
        yield stand


@pytest.fixture
async def stand(project_stand: Stand, tmp_path: Path) -> Stand:
    """The stand with one worker up, and a folder of this law's own."""
    project_stand.folder = tmp_path
    await project_stand.ready()
    return project_stand
