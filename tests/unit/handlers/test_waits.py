"""Waits of a sequence: their declaration, and the payloads of their signals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, cast

import pytest
from pydantic import BaseModel, Field

from onward import InvalidParameters, sequence, sleep, wait_for

DAY = timedelta(days=1)


@dataclass
class Approval:
    approved: bool
    comment: str = ""


class Grade(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Review(BaseModel):
    grade: Grade
    stars: Annotated[int, Field(ge=1, le=5)]


async def draft(job: Any, *, text: str) -> str:
    return text


async def publish(job: Any, value: Approval) -> None: ...
async def report(job: Any, value: str) -> None: ...
async def count(job: Any, value: int) -> None: ...


def test_waits_are_steps() -> None:
    """Sleeps without a name are numbered, and the value of a step passes through them."""
    made = sequence("test.several", (draft, sleep(DAY), sleep(DAY), sleep(DAY, name="rest"), report))
    assert [step.name for step in made.steps] == ["draft", "sleep", "sleep_2", "rest", "report"]
    assert made.source_of(4) == 0
    assert made.handed_on(4, "words") == "words"
    assert made.job(text="words").params == {"text": "words"}


def test_a_payload_comes_back_as_a_value_of_its_type() -> None:
    made = sequence("test.approval", [draft, wait_for("approval", Approval), sleep(DAY), publish])
    wait = made.wait("approval")
    assert wait is not None
    assert made.wait("sleep") is None
    stored = wait.bind({"approved": True})
    assert stored == {"approved": True, "comment": ""}
    assert made.handed_on(3, stored) == Approval(approved=True)


@pytest.mark.parametrize(
    ("type_", "given", "stored"),
    [
        (Approval, Approval(approved=True, comment="fine"), {"approved": True, "comment": "fine"}),
        (Review, {"grade": "good", "stars": 5}, {"grade": "good", "stars": 5}),
        (Grade, "bad", "bad"),
        (Grade, Grade.GOOD, "good"),
        (int, 7, 7),
        (list[Review], [Review(grade=Grade.BAD, stars=1)], [{"grade": "bad", "stars": 1}]),
        (str | None, None, None),
        (None, None, None),
        (timedelta, DAY, "P1D"),
        (Any, {"any": [1, None]}, {"any": [1, None]}),
    ],
)
def test_payloads_of_many_types(type_: Any, given: Any, stored: Any) -> None:
    wait = wait_for("answer", type_)
    assert wait.bind(given) == stored
    assert wait.bind(wait.read(stored)) == stored


@pytest.mark.parametrize(
    ("type_", "given", "paths"),
    [
        (Approval, {"approved": "yes"}, ["payload.approved"]),
        (Approval, {"approved": True, "by": "Ann"}, ["payload.by"]),
        (Approval, None, ["payload"]),
        (Review, {"grade": "fair", "stars": 9}, ["payload.grade", "payload.stars"]),
        (int, True, ["payload"]),
        (None, 1, ["payload"]),
        (Any, float("nan"), ["payload"]),
        (Any, 2**70, ["payload"]),
    ],
)
def test_a_wrong_payload_is_refused_with_its_paths(type_: Any, given: Any, paths: list[str]) -> None:
    with pytest.raises(InvalidParameters) as refused:
        wait_for("answer", type_).bind(given)
    assert [path for path, _ in refused.value.errors] == paths


def test_the_schema_is_that_of_the_type() -> None:
    found = wait_for("review", Review).schema
    assert found is not None
    assert found["properties"]["stars"] == {"maximum": 5, "minimum": 1, "title": "Stars", "type": "integer"}
    assert wait_for("seen").schema == {"type": "null"}
    assert sleep(DAY).schema is None


def test_a_default_is_checked_and_stored() -> None:
    assert wait_for("a", Approval, timeout=DAY, otherwise=Approval(approved=False)).otherwise == (
        {"approved": False, "comment": ""},
    )
    assert wait_for("a", timeout=DAY, otherwise=None).otherwise == (None,)
    with pytest.raises(TypeError, match=r"wait_for\('a'\): otherwise is not of the payload's type: payload: "):
        wait_for("a", Approval, timeout=DAY, otherwise="no")
    with pytest.raises(ValueError, match="give a timeout, too"):
        wait_for("a", int, otherwise=1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sleep(cast("Any", 3)), TypeError, "sleep: the time must be a timedelta"),
        (lambda: sleep(timedelta(0)), ValueError, "sleep: the time must be more than 0"),
        (lambda: sleep(timedelta(days=4000)), ValueError, "at most 3,650 days"),
        (lambda: wait_for(cast("Any", Approval)), TypeError, "wait_for: the name must be a string"),
        (lambda: wait_for("not a name", Approval), ValueError, "letters, digits and underscores"),
        (
            lambda: wait_for("a", Approval, timeout=cast("Any", 3)),
            TypeError,
            r"wait_for\('a'\): timeout must be a timedelta",
        ),
        (lambda: wait_for("a", Approval, timeout=-DAY), ValueError, "more than 0"),
        (lambda: wait_for("a", Approval, roles="staff"), TypeError, "roles must be a list of names"),
        (lambda: wait_for("a", bytes), TypeError, "its payload: JSON has no bytes"),
        (lambda: wait_for("a", object()), TypeError, "its payload cannot be"),
    ],
)
def test_a_wrong_declaration_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([sleep(DAY), report], "test.wrong: a wait stands between two functions"),
        ([draft, sleep(DAY)], "test.wrong: a wait stands between two functions"),
        ([draft, wait_for("draft"), report], "two of its steps have the same name"),
        ([draft, sleep(DAY), count], "count takes value: int, but draft before it returns str"),
        ([draft, wait_for("n", int), report], "report takes value: str, but the signal n before it has int"),
        ([draft, wait_for("n", Approval), report], "report takes value: str, but the signal n before it has Approval"),
    ],
)
def test_a_wrong_sequence_is_refused(steps: list[Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        sequence("test.wrong", steps)
