"""The commands of the page of flows choose queues that there are; its tests are run with those of other pages."""

import asyncio
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from onward.config.settings import load
from onward.runtime.backends import taken_by_worker
from tests.docs.fences import Fence, fences
from tests.processes import ROOT

PAGE = ROOT / "docs" / "flows.md"


def part(heading: str) -> list[Fence]:
    """Return the blocks under a heading of the page."""
    text = PAGE.read_text("utf-8")
    first = text.count("\n", 0, text.index(f"\n## {heading}\n")) + 2
    later = [text.count("\n", 0, found.start()) + 2 for found in re.finditer(r"\n## ", text)]
    end = next((line for line in later if line > first), sys.maxsize)
    return [fence for fence in fences(PAGE) if first <= fence.line < end]


def test_the_workers_of_the_page_take_queues_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for fence in part("Workers"):
        if fence.file or fence.language == "toml":
            (tmp_path / (fence.file or "settings.toml")).write_text(fence.text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    lines = [line for fence in part("Workers") if fence.language == "sh" for line in fence.text.splitlines()]
    taken, loads = [], []
    for line in lines:
        _, command, *options = shlex.split(line, comments=True)
        assert command == "worker"
        queues = options[options.index("--queues") + 1] if options else ""
        taken.append(sorted(taken_by_worker(load(tmp_path, worker={"queues": queues}))))
        if queues:
            monkeypatch.setenv("ONWARD_WORKER__QUEUES", queues)
        else:
            monkeypatch.delenv("ONWARD_WORKER__QUEUES", raising=False)
        loads.append(asyncio.run(_model()) is not None)
    both = ["dramatiq", "dramatiq:gpu"]
    assert taken == [["dramatiq"], ["dramatiq:gpu"], both, both]
    assert loads == [False, True, True, True]  # the model is there wherever its jobs are taken
    del sys.modules["video"]


async def _model() -> Any:
    async with import_module("video").lifespan() as resources:
        return resources.model
