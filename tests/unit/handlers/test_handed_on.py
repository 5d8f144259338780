"""A step of a sequence takes the value of the one before, as far as plain annotations tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, NewType, TypedDict

import pytest
from pydantic import PlainSerializer

from onward.handlers.base import sequence


class Colour(StrEnum):
    RED = "red"


class Row(TypedDict):
    number: int


Words = NewType("Words", str)
AsText = Annotated[int, PlainSerializer(str)]


def pair(returned: Any, taken: Any) -> list[Any]:
    """Return two steps with these annotations."""

    def gives(job: Any) -> None: ...
    def takes(job: Any, value: Any) -> None: ...

    gives.__annotations__["return"] = returned
    takes.__annotations__["value"] = taken
    return [gives, takes]


@pytest.mark.parametrize(
    ("returned", "taken", "message"),
    [
        (int, str, "value: str, but gives before it returns int"),
        ("int", "str", "value: str, but gives before it returns int"),
        (str, float, "value: float, but gives before it returns str"),
        (list[int], dict[str, int], "value: dict, but gives before it returns list"),
        (dict, bool, "value: bool, but gives before it returns dict"),
    ],
)
def test_types_that_exclude_each_other_are_refused(returned: Any, taken: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"test.pair: takes takes {message}: write one type for both"):
        sequence("test.pair", pair(returned, taken))


@pytest.mark.parametrize(
    ("returned", "taken"),
    [
        (int, int),
        (int, float),
        (float, int),  # 2.0 may be written as 2, and a float may be an int for type checkers
        (int, bool),
        (bool, int),
        (None, str),
        (int, None),
        (Any, str),
        (object, str),
        (int, Any),
        (int, object),
        (int | str, str),
        (str, int | str),
        (str | None, str),
        (list[int], list[str]),
        (list, tuple),
        (tuple[int, str], list),
        (set[int], list),
        (dict, Mapping[str, int]),
        (Row, dict),
        (dict, Row),
        (Decimal, str),
        (date, str),
        (Colour, str),
        (Words, str),
        (int, Words),
        (AsText, str),
        (int, AsText),
        ("Unknown", int),
        (5, int),
    ],
)
def test_types_that_may_fit_are_left(returned: Any, taken: Any) -> None:
    try:
        sequence("test.pair", pair(returned, taken))
    except TypeError as error:  # for another reason, such as a type that JSON does not bring back
        assert "write one type for both" not in str(error)  # noqa: PT017 - most cases raise nothing


def test_a_function_without_annotations_or_in_a_decorator_is_left() -> None:
    def gives(job: Any) -> int:
        return 1

    @wraps(gives)
    def wrapped(job: Any) -> str:
        return str(gives(job))

    def takes(job: Any, value: str) -> None: ...
    def bare(job, value): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    assert sequence("test.wrapped", [wrapped, takes]).is_sequence
    assert sequence("test.bare", [gives, bare]).is_sequence
