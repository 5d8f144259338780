"""Results and progress of handlers, within the bounds of the docs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from onward.handlers.base import HandlerError, InvalidParameters, Permanent, Retry
from onward.jobs import outcome
from onward.jobs.model import Job, Progress
from onward.jobs.results import chunk_json, storable
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


def running_job() -> Running:
    job = SimpleNamespace(steps=(), id="job_1", handler="a.b", owner=None, attempt=1, progress=None)
    return Running(cast("Job", job), cast("Any", None), None, cast("Any", None), on_progress=print, on_emit=print)


def test_progress_below_zero_is_zero() -> None:
    running = running_job()
    running.progress(-5, -1)
    assert running.latest == Progress(0, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("a",), r"completed must be a whole number, as in job\.progress\(3, 10\) \(got 'a'\)"),
        ((None, 5), r"completed must be a whole number"),
        ((1, "a"), r"total must be a whole number, as in job\.progress\(3, 10\), or None \(got 'a'\)"),
        ((1, None, 5), r"message must be a string, or None \(got 5\)"),
        ((1, None, 0), r"message must be a string, or None \(got 0\)"),
    ],
)
def test_progress_of_another_type_is_refused_by_its_name(given: tuple[Any, ...], message: str) -> None:
    running = running_job()
    with pytest.raises(TypeError, match=message):
        running.progress(*given)
    assert running.latest is None


def test_progress_may_be_any_number() -> None:
    running = running_job()
    running.progress(1.5, Decimal(3), "half")  # type: ignore[arg-type]
    assert running.latest == Progress(1, 3, "half")


@pytest.mark.parametrize("error", [Permanent(""), HandlerError(), InvalidParameters([])])
def test_an_error_without_a_message_says_so(error: HandlerError) -> None:
    job = SimpleNamespace(steps=(), id="job_1", counted_attempts=0, max_attempts=1)
    options: dict[str, Any] = {"step": "one", "policy": Retry(), "secrets": (), "chance": Random(1)}
    found = outcome.after_error(error, job=cast("Job", job), stop=None, **options).error
    assert found is not None
    assert (found.code, found.message) == (error.code, "the handler gave no reason")


@pytest.mark.parametrize(
    ("chunk", "written"),
    [
        ("the pin is 12345678.", '"the pin is ***."'),
        ({"a": ["12345678"]}, '{"a":["***"]}'),
        (12345678, "12345678"),
        ("\u00e4\0", '"\u00e4\\u0000"'),
    ],
)
def test_a_chunk_is_written_without_secrets(chunk: Any, written: str) -> None:
    """Numbers stay, as in results."""
    assert chunk_json(chunk, ("12345678",)) == written
