"""Declared result types: the declarations of handlers, and the results that fit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict
from uuid import uuid4

import pytest
from pydantic import BaseModel, Field

from onward import Handler, JobContext, Permanent, handler
from onward.handlers.classes import alternatives
from onward.handlers.errors import InvalidParameters
from onward.jobs.results import storable

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypeCheckers


class Line(TypedDict):
    sku: str
    price: NotRequired[float]


class Bill(TypedDict):
    lines: list[Line]
    first: Line | None
    share: Annotated[float, Field(le=1)]


@dataclass
class Span:
    begins: datetime
    lasts: timedelta


class Sum(BaseModel):
    total: Decimal
    spans: list[Span] = []


@dataclass
class Empty: ...


@dataclass
class Card:
    amount: int


@dataclass
class Cash:
    amount: int


@dataclass
class GoldCard(Card):
    pass


@dataclass
class Order:
    paid: list[Card | Cash]


def of(annotation: Any) -> Handler:
    def function(job: Any) -> None: ...

    function.__annotations__["return"] = annotation
    return handler("test.output")(function)


@pytest.mark.parametrize(
    ("annotation", "types"),
    [
        (Line, (Line,)),
        (Sum | None, (Sum,)),
        (Sum | Span, (Sum, Span)),
        (Annotated[Span, "note"], (Span,)),
    ],
)
def test_a_type_with_fields_is_declared(annotation: Any, types: tuple[type, ...]) -> None:
    found = of(annotation).output
    assert found is not None
    assert found.types == types


@pytest.mark.parametrize("annotation", [None, int, dict[str, int], list[Sum], Sum | int, Empty, Any])
def test_a_type_without_fields_is_not_declared(annotation: Any) -> None:
    output = of(annotation).output
    assert output is None or output.types == ()


def test_a_type_for_type_checkers_alone_is_none() -> None:
    def function(job: Any) -> "OnlyForTypeCheckers":
        raise NotImplementedError

    assert handler("test.output")(function).output is None


AT = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("annotation", "value", "stored"),
    [
        (Line, {"sku": "a"}, {"sku": "a"}),
        (Bill, {"lines": [{"sku": "a", "price": 1}], "first": None, "share": 0.5}, None),
        (Span, Span(AT, timedelta(hours=1)), {"begins": "2030-01-01T00:00:00+00:00", "lasts": "PT1H"}),
        (Sum, Sum(total=Decimal("1.10")), {"total": "1.10", "spans": []}),
        (Sum | Span, Sum(total=Decimal(1), spans=[Span(AT, timedelta(1))]), None),
        (Sum | None, None, None),
    ],
)
def test_a_result_that_fits_is_kept_and_read_again(annotation: Any, value: Any, stored: Any) -> None:
    output = of(annotation).output
    assert output is not None
    kept = storable(value, output)
    assert stored is None or kept == stored
    assert kept is None or output.read(kept) == value


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Line, {"sku": 7}, r"the result is no Line, .*: result\.sku: Input should be a valid string"),
        (Line, {}, r"result\.sku: Field required"),
        (Line, [], r"result: Input should be an object"),
        (Bill, {"lines": [{"sku": "a"}, {"sku": 1}], "first": None, "share": 0}, r"result\.lines\.1\.sku"),
        (Bill, {"lines": [], "first": None, "share": 2}, r"result\.share: Input should be less than or equal to 1"),
        (Span, {"begins": "now", "lasts": "PT1H"}, r"result\.begins"),
    ],
)
def test_a_result_that_does_not_fit_fails_with_the_place(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(Permanent, match=message) as failed:
        storable(value, of(annotation).output)
    assert failed.value.code == "RESULT_INVALID"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "result.total is of type object, which is no JSON"),
        (float("nan"), "result.total is NaN, which is no JSON"),
    ],
)
def test_a_value_that_is_no_json_is_named_by_its_place(value: Any, message: str) -> None:
    with pytest.raises(Permanent, match=message) as failed:
        storable(Sum.model_construct(total=value), of(Sum).output)
    assert failed.value.code == "RESULT_NOT_JSON"


def test_without_a_declared_type_a_model_is_no_result() -> None:
    with pytest.raises(Permanent, match="result is of type Sum, which is no JSON"):
        storable(Sum(total=Decimal(1)))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(Card | Cash, Cash(5)), (Order, Order([Card(1), Cash(5)])), (Order | None, Order([Cash(5)]))],
)
def test_a_class_that_would_be_read_as_another_one_is_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(Permanent, match="a Cash, which would be read as a Card: give each a field") as refused:
        storable(value, of(annotation).output)
    assert refused.value.code == "RESULT_INVALID"


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(Card | Cash, Card(5)), (Card, GoldCard(5)), (Card | Cash, {"amount": 5}), (Order, Order([Card(1)]))],
)
def test_a_class_that_is_read_as_itself_or_as_its_base_is_stored(annotation: Any, value: Any) -> None:
    assert storable(value, of(annotation).output) in ({"amount": 5}, {"paid": [{"amount": 1}]})


@pytest.mark.parametrize("annotation", [None, list[str]])
@pytest.mark.parametrize(
    ("nested", "place"),
    [(lambda one: one, "result"), (lambda one: [one], r"result\.0"), (lambda one: {"a": (one,)}, r"result\.a\.0")],
)
def test_a_forgotten_await_is_named(annotation: Any, nested: Callable[[Any], Any], place: str) -> None:
    async def fetch() -> list[str]:
        return []

    forgotten = fetch()
    with pytest.raises(Permanent, match=rf"{place} is a coroutine that was not awaited: write `await` before its call"):
        storable(nested(forgotten), of(annotation).output)
    forgotten.close()


def test_a_parameter_that_would_be_read_as_another_class_is_refused() -> None:
    async def pay(job: JobContext, *, by: Card | Cash, all: list[Card | Cash] = []) -> None: ...  # noqa: B006

    made = handler("test.pay")(pay)
    assert made.bind({"by": Card(5)}) == {"by": {"amount": 5}, "all": []}
    assert made.bind({"by": {"amount": 5}}) == {"by": {"amount": 5}, "all": []}
    for given in ({"by": Cash(5)}, {"by": Card(5), "all": [Card(1), Cash(5)]}):
        with pytest.raises(InvalidParameters, match="a Cash, which would be read as a Card"):
            made.bind(given)


def test_only_classes_of_unions_are_told_apart() -> None:
    """Of other parameters, however large, no value is looked at a second time."""

    @dataclass
    class Sale:
        lines: list[Card]
        by: Card | None = None

    assert alternatives([Sale, dict[str, Sale], Card | int]) == set()
    assert alternatives([list[Card | Cash] | None]) == {Card, Cash}
    assert alternatives([Sale | Cash]) == {Sale, Card, Cash}


def test_what_a_key_covers_leaves_out_a_default_that_is_made() -> None:
    async def note(job: JobContext, *, text: str, ref: str = Field(default_factory=lambda: uuid4().hex)) -> None: ...

    made = handler("test.note")(note)
    assert made.given({"text": "a"}) == {"text": "a"}
    assert made.given({"text": "a", "ref": "b"}) == {"text": "a", "ref": "b"}
