"""Results and progress of handlers, within the bounds of the docs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from onward.handlers.base import Permanent
from onward.jobs.model import Job, Progress
from onward.jobs.results import storable
from onward.jobs.running import Running

DOCS = Path(__file__).parents[3] / "docs" / "handlers.md"


def nested(levels: int, inner: Any) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


@pytest.mark.parametrize(("inner", "own_levels"), [(1, 0), ([], 1), ({}, 1)])
def test_a_result_may_have_the_levels_that_docs_and_message_tell(inner: Any, own_levels: int) -> None:
    most = 200
    assert f"{most} levels" in DOCS.read_text()
    deepest = nested(most - own_levels, inner)
    assert storable(deepest) == deepest
    with pytest.raises(Permanent, match=f"more than {most} levels of lists and dictionaries"):
        storable([deepest])


def test_progress_below_zero_is_zero() -> None:
    job = SimpleNamespace(id="job_1", handler="a.b", owner=None, attempt=1, progress=None)
    running = Running(cast("Job", job), cast("Any", None), None, cast("Any", None), lambda _: None)
    running.progress(-5, -1)
    assert running.latest == Progress(0, 0)
