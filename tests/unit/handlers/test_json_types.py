"""Types of parameters and results: each goes round through JSON, or is refused where the handler is declared."""

import json
import re
import sys
import typing
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    AnyUrl,
    Base64Bytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    EmailStr,
    Field,
    PlainSerializer,
    PlainValidator,
    RootModel,
    Secret,
    SecretStr,
    field_serializer,
)
from typing_extensions import TypeAliasType
from typing_extensions import TypedDict as Dictionary

from onward import JSON, Permanent, handler, sequence
from onward.jobs.results import storable

ID = NewType("ID", str)


class Size(Enum):
    SMALL = "s"


class Gap(Enum):
    NONE = None
    WIDE = "wide"


class Level(IntEnum):
    LOW = 1


class Colour(StrEnum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: str = "b"


@dataclass
class Place:
    path: Path
    tags: set[int] = field(default_factory=set)


class Address(BaseModel):
    street: str = Field(alias="theStreet")
    by_number: dict[int, Path]
    url: AnyUrl | None = None


class Numbers(RootModel[list[int]]): ...


class Line(Dictionary):
    price: Decimal
    size: NotRequired[Size]


class Plain(TypedDict):
    price: "NotRequired[Decimal]"
    size: Size


class Binary(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


@dataclass(eq=True)
class Money:
    cents: Annotated[
        Decimal,
        PlainValidator(lambda value: Decimal(str(value).strip("$"))),
        PlainSerializer(lambda value: f"${value}"),
    ]


class Tree(BaseModel):
    children: "list[Tree]" = []


AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
URL = AnyUrl("https://example.org/a?b=c")
ADDRESS = Address(theStreet="Main", by_number={1: Path("a")}, url=URL)
TYPES: list[tuple[Any, Any]] = [
    (str, "a"),
    (float, 1.5),
    (bool, True),
    (int, 2**40),
    (Annotated[int, Field(ge=0, le=2**53)], 2**53),
    (ID, "a"),
    (datetime, AT),
    (date, date(2030, 1, 31)),
    (time, time(9, 30, 0, 5)),
    (timedelta, timedelta(days=1, microseconds=5)),
    (Decimal, Decimal("1.10")),
    (UUID, UUID(int=7)),
    (Size, Size.SMALL),
    (Gap, Gap.NONE),
    (Level, Level.LOW),
    (Colour, Colour.RED),
    (Literal["air", "sea"], "air"),
    (Literal["a", "b"] | None, None),
    (list[Decimal], [Decimal("1.10")]),
    (tuple[int, ...], (1, 2)),
    (tuple[int, Path], (1, Path("a"))),
    (set[UUID], {UUID(int=7)}),
    (frozenset[str], frozenset({"a"})),
    (deque[int], deque([1])),
    (Sequence[date], [date(2030, 1, 31)]),
    (Place, Place(Path("a/b"), {1, 2})),
    (list[Place], [Place(Path("a/b"))]),
    (Address, ADDRESS),
    (Line, {"price": Decimal("1.10"), "size": Size.SMALL}),
    (Numbers, Numbers([1, 2])),
    (RootModel[dict[UUID, Size]], RootModel[dict[UUID, Size]]({UUID(int=7): Size.SMALL})),
    (Point, Point(1)),
    (dict[str, Any], {"a": [1, None, {"b": 1.5}]}),
    (dict[int, str], {1: "a"}),
    (dict[IPv4Address, int], {IPv4Address("192.0.2.1"): 1}),
    (dict[AnyUrl, int], {AnyUrl("https://example.com/"): 1}),
    (dict[UUID, Decimal], {UUID(int=7): Decimal("1.10")}),
    (dict[Size, int], {Size.SMALL: 1}),
    (Mapping[date, Place], {date(2030, 1, 31): Place(Path("a"))}),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    (AnyUrl, URL),
    (EmailStr, "ada@example.org"),
    (Path, Path("a/b")),
    (IPv4Address, IPv4Address("127.0.0.1")),
    (IPv6Network, IPv6Network("::/64")),
    (ZoneInfo, ZoneInfo("UTC")),
    (re.Pattern[str], re.compile("a+")),
    (Fraction, Fraction(1, 3)),
    (complex, 1 + 2j),
    (ByteSize, ByteSize(5)),
    (Binary, Binary(data=b"\xff\x00")),
    (Money, Money(Decimal("1.50"))),
    (Tree, Tree(children=[Tree()])),
    (int | Place | None, Place(Path("a"))),
    (Path | None, None),
]
NAMES = [f"{number} {getattr(type_, '__name__', type_)}" for number, (type_, _) in enumerate(TYPES)]


@pytest.mark.parametrize(("type_", "value"), TYPES, ids=NAMES)
def test_a_parameter_goes_round(type_: Any, value: Any) -> None:
    def function(job: Any, *, a: Any) -> None: ...

    function.__annotations__["a"] = type_
    made = handler("test.round")(function)
    stored = json.loads(json.dumps(made.bind({"a": value})))
    found = made.arguments(stored)["a"]
    assert (found, type(found)) == (value, type(value))
    assert made.bind(stored) == stored


@pytest.mark.parametrize(("type_", "value"), TYPES, ids=NAMES)
def test_a_result_goes_round_alone_and_in_a_field(type_: Any, value: Any) -> None:
    def function(job: Any) -> Any: ...

    holder: Any = make_dataclass("Holder", [("a", type_), ("b", list[type_])])
    for annotation, result in ((type_, value), (holder, holder(value, [value]))):
        function.__annotations__["return"] = annotation
        output = handler("test.round")(function).output
        assert output is not None
        if result is not None:
            found = output.read(json.loads(json.dumps(storable(result, output))))
            assert (found, type(found)) == (result, type(result))


def test_bytes_go_round_in_base64() -> None:
    @dataclass
    class Picture:
        data: Base64Bytes

    def function(job: Any, *, a: Any) -> Any: ...

    function.__annotations__.update({"a": Picture, "return": Picture})
    made, picture = handler("test.round")(function), Picture(b"\xff\x00")
    assert made.bind({"a": picture}) == {"a": {"data": "/wA="}}
    assert made.arguments(made.bind({"a": picture})) == {"a": picture}
    assert storable(picture, made.output) == {"data": "/wA="}


class Access(IntFlag):
    READ = 1


class Pair(Enum):
    A = (1, 2)


class Unknown: ...


@dataclass
class Initial:
    a: int
    b: InitVar[int]


class Hidden(BaseModel):
    secret: str = Field(exclude=True)


@dataclass
class Deep:
    inner: list[dict[str, SecretStr]]


class Odd(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Unknown


class Own(BaseModel):
    """A class that says itself how its field is written."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Unknown

    @field_serializer("thing")
    def write(self, value: Unknown) -> str:
        return str(value)


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        (bytes, "JSON has no bytes; declare pydantic's Base64Bytes, or str"),
        (list[bytearray], "JSON has no bytes"),
        (SecretStr, "SecretStr is stored as asterisks; declare it str, and name the parameter in secret="),
        (Secret[int], "is stored as asterisks"),
        (Callable[[], int], "a class or a function cannot be stored; pass its name"),
        (type[int], "a class or a function cannot be stored"),
        (Iterator[int], "Iterator can be gone through once, and cannot be stored; declare it list"),
        (Access, "Access is a Flag, whose combinations are no members; declare it int"),
        (Pair, "the values of Pair must be text or numbers: they become JSON"),
        (Gap | None, "a member of Gap is None, and would be read as no member; give it a text"),
        (list[Annotated[Gap, "x"] | None], "a member of Gap is None"),
        (
            dict[tuple[int, int], int],
            "the keys of JSON are text, and tuple[int, int] is not read back from it; take str",
        ),
        (dict[int | None, int], "the keys of JSON are text"),
        (Unknown, "Unknown cannot be stored as JSON; use a dataclass or a pydantic model"),
        (Odd, "thing: Unknown cannot be stored as JSON"),
        (Initial, "b: an InitVar is not stored; make it a field of Initial"),
        (
            Awaitable[int],
            "cannot be stored as JSON: collections.abc.Awaitable[int] is no type of values; use a dataclass",
        ),
        (Hidden, "secret: exclude=True keeps it from being stored, and it is required; give it a default"),
        (Deep | None, "inner: SecretStr is stored as asterisks"),
    ],
)
def test_a_type_that_is_not_read_back_is_refused_at_the_start(type_: Any, message: str) -> None:
    def takes(job: Any, *, a: Any) -> None: ...
    def gives(job: Any) -> Any: ...
    def after(job: Any, value: Any) -> None: ...

    takes.__annotations__["a"] = gives.__annotations__["return"] = type_
    with pytest.raises(TypeError, match=rf"^test\.round: takes: a.*{re.escape(message)}"):
        handler("test.round")(takes)
    with pytest.raises(TypeError, match=rf"^test\.round: gives: its result.*{re.escape(message)}"):
        sequence("test.round", [gives, after])
    with pytest.raises(TypeError, match=rf"^test\.round: gives: its result.*{re.escape(message)}"):
        handler("test.round")(gives)


def test_a_class_may_say_itself_how_it_is_written() -> None:
    def function(job: Any, *, a: Own) -> None: ...

    assert handler("test.round")(function).parameters.model_fields["a"].annotation is Own


def test_a_typed_dict_of_typing_is_a_parameter_and_a_result() -> None:
    def function(job: Any, *, a: Plain, b: list[Plain]) -> Plain:
        return a

    made, line = handler("test.round")(function), Plain(size=Size.SMALL)
    assert made.arguments(made.bind({"a": line, "b": [line]})) == {"a": line, "b": [line]}
    assert made.output is not None
    assert made.output.read(storable(line, made.output)) == line


@dataclass
class Early:
    later: "Later | None" = None


@handler("test.early")
def early(job: Any, *, a: Early, b: Early | None = None, c: list[Early] = []) -> Early:  # noqa: B006
    return a


@dataclass
class Later:
    folder: Path


def test_a_class_may_be_further_down_in_the_module() -> None:
    value = Early(Later(Path("a")))
    assert early.arguments(early.bind({"a": value})) == {"a": value, "b": None, "c": []}
    assert early.output is not None
    assert early.output.read(storable(value, early.output)) == value


@pytest.mark.parametrize("alias", dict.fromkeys([TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)]))
def test_what_an_alias_names_is_refused_as_the_type_itself(alias: Any) -> None:
    def function(job: Any, *, a: Any) -> None: ...

    function.__annotations__["a"] = alias("Blob", bytes)
    with pytest.raises(TypeError, match="JSON has no bytes"):
        handler("test.alias")(function)


def test_json_for_type_checkers_is_json() -> None:
    def function(job: Any, *, a: JSON, b: dict[str, JSON] | None = None) -> JSON:
        return a

    made = handler("test.json")(function)
    value: dict[str, Any] = {"x": [1, None, {"y": 1.5}]}
    assert made.arguments(made.bind({"a": value, "b": value})) == {"a": value, "b": value}
    with pytest.raises(Permanent, match=r"result\.0 is of type set, which is no JSON"):
        storable([{1}], made.output)


KEEP = """
from dataclasses import dataclass

from onward import JSON, JobContext, handler


@dataclass
class Row:
    values: JSON


@handler("test.keep")
def keep(job: JobContext, *, data: JSON, rows: list[Row]) -> dict[str, JSON]:
    return {"data": data}
"""


@pytest.mark.parametrize("head", ["", "from __future__ import annotations"])
def test_json_is_all_that_a_module_has_to_import(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alias for type checkers has names in it, such as Sequence, and is a field's type as well."""
    module: Any = ModuleType("kept")
    monkeypatch.setitem(sys.modules, "kept", module)
    exec(f"{head}\n{KEEP}", module.__dict__)
    given = {"data": {"x": [1, None]}, "rows": [module.Row([1.5, {"y": "z"}])]}
    assert module.keep.arguments(module.keep.bind(given)) == given
    assert module.keep.output is not None
