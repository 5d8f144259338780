"""`batch(...)`, and the parameter for its results. mypy has to refuse a wrong call, or its comment would be unused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from onward import ChildResult, JobContext, JobRequest, Permanent, Results, batch, handler, sequence
from onward.handlers.results import Page


@dataclass(frozen=True)
class Small:
    width: int


@handler("test.resize")
async def resize(job: JobContext, *, picture: str) -> Small:
    return Small(1)


@handler("test.publish")
async def publish(job: JobContext[str], results: Results[Small], *, album: str) -> None: ...


def test_the_results_are_no_parameter_of_the_job() -> None:
    assert publish.job(album="Crete") == JobRequest("test.publish", {"album": "Crete"})
    assert publish.parameters.model_fields.keys() == {"album"}
    with pytest.raises(TypeError, match="there is no parameter results"):
        publish.job(album="Crete", results=Results())  # type: ignore[call-arg]
    assert resize.results is None

    def first(job: JobContext, results: Results, *, album: str) -> str:
        return album

    def last(job: JobContext, value: str) -> None: ...

    both = sequence("test.both", (first, last))
    assert both.results is not None
    assert both.job(album="Crete").params == {"album": "Crete"}


def test_a_handler_in_a_process_of_its_own_takes_no_results() -> None:
    with pytest.raises(ValueError, match=r"test\.apart: a handler with process=True cannot take Results"):

        @handler("test.apart", process=True)
        def apart(job: JobContext, results: Results) -> None: ...


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: batch(resize.job(picture="sea")), "batch: children must be a list of jobs"),  # type: ignore[arg-type]
        (lambda: batch("sea"), "batch: children must be a list of jobs"),  # type: ignore[arg-type]
        (lambda: batch([], then=publish), "batch: then must be a job"),  # type: ignore[arg-type]
        (lambda: batch([], on_failure="x"), "batch: on_failure must be a job"),  # type: ignore[arg-type]
        (lambda: batch([], stop=1), "batch: stop must be True or False"),  # type: ignore[arg-type]
        (lambda: batch([], stop=False, on_failure=resize.job(picture="x")), "leave out stop=False"),
    ],
)
def test_a_wrong_batch_is_refused_where_it_is_made(call: Callable[[], Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_on_failure_means_that_a_failed_child_stops_the_batch() -> None:
    assert batch([], on_failure=resize.job(picture="x")).stop
    assert batch([], stop=True).stop
    assert not batch([], then=resize.job(picture="x")).stop


def test_the_children_of_an_iterator_are_there_once() -> None:
    made = batch(resize.job(picture=one) for one in ("sea", "hills"))
    assert len(list(made.children())) == 2
    with pytest.raises(ValueError, match="make it anew"):
        made.children()
    listed = batch([resize.job(picture="sea")])
    assert len(list(listed.children())) == len(list(listed.children())) == 1


class Two:
    """Two children, a page each."""

    def read(self, after: int) -> Page:
        found = [(at, ChildResult(f"job_{at}", "SUCCEEDED", {"width": at}, None)) for at in (0, 1)]
        return [one for one in found if one[0] > after][:1]

    async def read_async(self, after: int) -> Page:
        return self.read(after)


async def test_results_are_read_page_by_page_in_their_type() -> None:
    assert publish.results is not None
    results = Results[Small](2, Two(), publish.results.restore)
    assert [child.result async for child in results] == [Small(0), Small(1)]
    assert [child.id async for child in results] == ["job_0", "job_1"]
    with pytest.raises(TypeError, match="async for"):
        iter(results)
    assert [child async for child in Results()] == []


def test_a_plain_function_reads_results_with_for() -> None:
    assert [child.result for child in Results(2, Two())] == [{"width": 0}, {"width": 1}]


def test_a_result_of_another_type_is_refused() -> None:
    @handler("test.other")
    def other(job: JobContext, results: Results[str]) -> None: ...

    assert other.results is not None
    with pytest.raises(Permanent, match="child 0, job_0, is not of the type"):
        list(Results(2, Two(), other.results.restore))
