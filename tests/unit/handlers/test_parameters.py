"""Parameters are checked when a job is dispatched, and stored ones can be read again."""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue

from onward.handlers.base import InvalidParameters, handler


class Colour(StrEnum):
    RED = "red"


class Line(BaseModel):
    sku: str
    price: Decimal


@dataclass
class Point:
    x: int


@handler("test.plain")
def plain(job: Any, *, email: str, count: int = 3, ratio: float | None = None, extra: JsonValue = None) -> None: ...


@handler("test.rich")
def rich(
    job: Any,
    *,
    at: datetime,
    lasting: timedelta,
    id: UUID,
    colour: Colour,
    lines: list[Line],
    short: Annotated[str, Field(max_length=3)],
    point: Point,
) -> None: ...


def test_defaults_are_kept_with_the_job() -> None:
    assert plain.bind({"email": "a"}) == {"email": "a", "count": 3, "ratio": None, "extra": None}


def test_rich_types_are_stored_as_json_and_restored() -> None:
    params = {
        "at": datetime(2031, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "lasting": timedelta(days=1, microseconds=1),
        "id": UUID(int=7),
        "colour": Colour.RED,
        "lines": [Line(sku="a", price=Decimal("1.10"))],
        "short": "abc",
        "point": Point(1),
    }
    stored = json.loads(json.dumps(rich.bind(params)))
    assert rich.arguments(stored) == params
    assert rich.bind(stored) == stored


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({}, "email"),
        ({"email": None}, "email"),
        ({"email": 1}, "email"),
        ({"email": b"a"}, "email"),
        ({"email": "\ud800"}, "email"),
        ({"email": "a", "count": "3"}, "count"),
        ({"email": "a", "count": True}, "count"),
        ({"email": "a", "count": 3.5}, "count"),
        ({"email": "a", "ratio": math.nan}, "ratio"),
        ({"email": "a", "ratio": math.inf}, "ratio"),
        ({"email": "a", "ratio": "NaN"}, "ratio"),
        ({"email": "a", "extra": {"deep": [math.nan]}}, "extra.deep.0"),
        ({"email": "a", "extra": {1, 2}}, "extra"),
        ({"email": "a", "extra": (x for x in "ab")}, "extra"),
        ({"email": "a", "extra": object()}, "extra"),
        ({"email": "a", "extra": [b"bytes"]}, "extra.0"),
        ({"email": "a", "unknown": 1}, "unknown"),
        ({"email": "a", "job": 1}, "job"),
    ],
)
def test_an_invalid_value_is_refused_with_its_path(params: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        plain.bind(params)
    assert [where for where, _ in refused.value.errors] == [path]


def wrong_text(job: Any, *, a: int = "x") -> None: ...  # type: ignore[assignment]
def no_text(job: Any, *, a: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
def out_of_bounds(job: Any, *, a: Annotated[int, Field(ge=1)] = 0) -> None: ...
def infinite(job: Any, *, a: float = math.inf) -> None: ...
def no_json(job: Any, *, a: Any = object()) -> None: ...  # noqa: B008
def nothing(job: Any, *, a: ClassVar[int]) -> None: ...  # type: ignore[misc]
def method(self: Any, job: Any, *, a: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (wrong_text, "the default of a, 'x', is not of its type: Input should be a valid integer"),
        (no_text, "the default of a, None, is not of its type: Input should be a valid string; declare a: str | None"),
        (out_of_bounds, "the default of a, 0, is not of its type: Input should be greater than or equal to 1"),
        (infinite, "the default of a, inf, is not of its type"),
        (no_json, "is not of its type: it is no JSON"),
        (nothing, "a is declared ClassVar"),
        (method, "method is a method: write a function of the module, or put @staticmethod above @handler"),
    ],
)
def test_a_signature_that_no_job_could_be_run_with_is_refused(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^test\.wrong: .*{re.escape(message)}"):
        handler("test.wrong")(function)


def test_a_default_may_be_what_json_has_for_its_type() -> None:
    def function(job: Any, *, a: Decimal = 0, b: list[str] = (), c: Colour = "red", d: float = 1) -> None: ...  # type: ignore[assignment]

    made = handler("test.defaults")(function)
    assert made.arguments(made.bind({})) == {"a": Decimal(0), "b": [], "c": Colour.RED, "d": 1.0}


def test_all_errors_are_reported_together_without_the_values() -> None:
    with pytest.raises(InvalidParameters) as refused:
        plain.bind({"email": 12345, "count": "hunter2"})
    assert [path for path, _ in refused.value.errors] == ["email", "count"]
    assert "hunter2" not in str(refused.value)
    assert "12345" not in str(refused.value)


def test_a_nested_error_has_a_dotted_path() -> None:
    with pytest.raises(InvalidParameters) as refused:
        rich.bind({"lines": [{"sku": "a"}]})
    assert ("lines.0.price", "Field required") in refused.value.errors


def test_a_recursive_or_too_deep_value_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(InvalidParameters):
            plain.bind({"email": "a", "extra": value})
    while deep:  # freed level by level: the interpreter would recurse
        deep = deep[0]


def test_stored_parameters_of_another_type_are_refused_with_a_reason() -> None:
    with pytest.raises(InvalidParameters, match="gone: Extra inputs are not permitted"):
        plain.arguments({"email": "a", "gone": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(email=st.text(st.characters(exclude_categories=["Cs"])), extra=json_values)
def test_any_json_value_is_restored_unchanged(email: str, extra: Any) -> None:
    stored = json.dumps(plain.bind({"email": email, "extra": extra}))
    arguments = plain.arguments(json.loads(stored))
    assert (arguments["email"], arguments["extra"]) == (email, extra)


NO_JSON = [
    ({"items": [{"price": 1.0}, {"price": math.nan}]}, "given.items.1.price", "is NaN, which is no JSON"),
    ([math.inf], "given.0", "is infinity, which is no JSON"),
    ({"a": b"x"}, "given.a", "is of type bytes, which is no JSON"),
    ("\ud800", "given", "is text that is no valid Unicode (half of a surrogate pair)"),
]


@pytest.mark.parametrize(("value", "where", "words"), NO_JSON)
def test_a_parameter_that_is_not_json_is_refused_with_its_place_and_type(value: Any, where: str, words: str) -> None:
    @handler("conformance.any")
    def anything(_job: Any, *, given: Any) -> None: ...

    with pytest.raises(InvalidParameters) as refusal:
        anything.bind({"given": value})
    assert refusal.value.errors == [(where, words)]
