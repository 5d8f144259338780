"""`Job.logLines`: bounded, within the budget of an answer, and for admins alone."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.graphql.conftest import serving, settings_in
from tests.integration.graphql.test_viewers import header, jwt_settings

HANDLERS = {"handlers": {"modules": ["tests.integration.graphql.logging_handlers"]}}
NOTE = "mutation($lines: Int!, $size: Int!) { note(input: {lines: $lines, size: $size}) { job { id } } }"
ONE = """
query($id: ID!, $last: Int) { job(id: $id) { status logLines(last: $last) { ...Line } } }
fragment Line on JobLogLine { time level logger attempt step text }
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(settings_in(tmp_path_factory.mktemp("onward"), **HANDLERS)) as address:
        yield address


def ask(address: str, query: str, who: dict[str, str] | None = None, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    return httpx2.post(f"http://{address}/graphql", json=body, headers=who or {}, timeout=30).json()


def note(address: str, lines: int, size: int = 0, who: dict[str, str] | None = None) -> str:
    """Log some lines in a job, and return its id once it is over."""
    id_ = ask(address, NOTE, who, lines=lines, size=size)["data"]["note"]["job"]["id"]
    until = time.monotonic() + 20
    while ask(address, ONE, who, id=id_)["data"]["job"]["status"] != "SUCCEEDED":
        assert time.monotonic() < until
        time.sleep(0.02)
    return str(id_)


def lines(address: str, id_: str, **given: Any) -> Any:
    return ask(address, ONE, id=id_, **given)["data"]["job"]["logLines"]


def test_the_newest_lines_come_the_oldest_first(address: str) -> None:
    id_ = note(address, 60)
    assert [line["text"] for line in lines(address, id_)] == [f"line {n}" for n in range(10, 60)]
    assert [line["text"] for line in lines(address, id_, last=1_000)] == [f"line {n}" for n in range(60)]
    assert lines(address, id_, last=0) == []
    (line,) = lines(address, id_, last=1)
    assert abs(datetime.fromisoformat(line.pop("time")).timestamp() - time.time()) < 60
    assert line == {"level": "INFO", "logger": "tests.notes", "attempt": 1, "step": "note", "text": "line 59"}


@pytest.mark.parametrize("last", [-1, 1_001, 2_000_000_000])
def test_a_length_out_of_bounds_is_refused(address: str, last: int) -> None:
    answer = ask(address, ONE, id=note(address, 1), last=last)
    assert answer["errors"][0]["extensions"]["code"] == "INVALID"
    assert answer["errors"][0]["message"] == f"`last` must be between 0 and 1,000 (got {last:,})."


@pytest.mark.slow
def test_the_lines_of_many_jobs_are_within_the_budget_of_an_answer(address: str) -> None:
    """The answer is refused before they are read, or before they are decoded."""
    many = "{ jobs(first: 200) { nodes { logLines(last: 1000) { time level logger text } } } }"
    answer = ask(address, many)
    assert answer["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
    for _ in range(40):
        note(address, 30, size=7_500)
    large = "{ jobs(first: 40) { nodes { logLines { text } } } }"
    assert ask(address, large)["errors"][0]["extensions"]["code"] == "ANSWER_TOO_LARGE"
    small = ask(address, "{ jobs(first: 10) { nodes { logLines(last: 2) { text } } } }")
    assert [len(job["logLines"]) for job in small["data"]["jobs"]["nodes"]] == [2] * 10


def test_admins_alone_read_lines(tmp_path: Path) -> None:
    """The owner of the job sees it, and not the inside of the application that runs it."""
    with serving(jwt_settings(tmp_path, **HANDLERS)) as address:
        id_ = note(address, 1, who=header("ada"))
        assert ask(address, ONE, header("ada"), id=id_)["data"]["job"] == {"status": "SUCCEEDED", "logLines": None}
        assert len(ask(address, ONE, header("root", "admin"), id=id_)["data"]["job"]["logLines"]) == 1
        for who in (header("eve"), {}):
            assert ask(address, ONE, who, id=id_)["data"]["job"] is None


def test_a_log_that_is_off_is_empty(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path, **HANDLERS, log={"job_level": "off"})) as address:
        assert lines(address, note(address, 3)) == []
