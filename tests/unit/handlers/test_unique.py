"""The uniqueness of a handler, and the words for one that is impossible."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from onward import JobContext, Unique, handler, sequence

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "order"}, "by must be a tuple of parameters"),
        ({"while_": "queued"}, "while_ must be a tuple of situations"),
        ({"within": 60}, "within must be a timedelta"),
        ({"debounce": 5}, "debounce must be a timedelta"),
        ({"replace": 1}, "replace must be True or False"),
        ({"per_owner": None}, "per_owner must be True or False"),
    ],
)
def test_an_option_of_another_type_is_refused_by_its_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Unique(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"while_": ("queued", "done")}, r"while_ must be of scheduled, .* \(got done\)"),
        ({"while_": ()}, "no job would count"),
        ({"within": timedelta(0)}, "within must be positive"),
        ({"within": timedelta(days=400)}, "at most 365 days"),
        ({"replace": True, "while_": ("queued", "running")}, "would lose what is new"),
        ({"replace": True, "within": MINUTE}, "would lose what is new"),
        ({"debounce": MINUTE, "while_": ("queued",)}, "add scheduled to while_"),
        ({"debounce": MINUTE, "max_wait": MINUTE / 2}, "max_wait must be at least debounce"),
        ({"max_wait": MINUTE}, "give debounce, too"),
    ],
)
def test_an_impossible_option_is_refused_with_the_way_out(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Unique(**options)


def test_its_defaults_follow_from_what_happens_to_a_second_job() -> None:
    assert Unique().situations == ("scheduled", "queued", "running", "retrying", "waiting")
    assert Unique(replace=True).situations == ("scheduled", "queued")
    assert Unique(debounce=MINUTE).max_wait == 10 * MINUTE
    assert Unique(while_=(), within=MINUTE).situations == ()


def test_a_handler_and_a_sequence_name_their_own_parameters() -> None:
    def greet(job: JobContext, *, name: str) -> str:
        return name

    unique = Unique(by=("name",))
    assert handler("hello.greet", unique=unique)(greet).unique is unique
    assert sequence("hello.all", (greet,), unique=unique).unique is unique
    with pytest.raises(ValueError, match=r"hello\.greet: unique names nme, which are not parameters"):
        handler("hello.greet", unique=Unique(by=("nme",)))(greet)
    with pytest.raises(TypeError, match=r"hello\.greet: unique must be a Unique"):
        handler("hello.greet", unique=True)(greet)  # type: ignore[arg-type]
