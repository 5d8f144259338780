"""Handlers with every kind of signature, each a mutation, and in SHOWN their expected SDL.

Without `from __future__ import annotations`: some types are local to a function.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypedDict
from uuid import UUID

from annotated_types import Ge, Len
from pydantic import AnyUrl, Base64Bytes, BaseModel, Field, JsonValue, RootModel
from typing_extensions import Doc
from typing_extensions import TypedDict as Dictionary

from onward import Handler, JobContext, Mutation, handler
from onward.handlers.types import Email, Text

ID = NewType("ID", str)
Cents = NewType("Cents", int)
Sku = Annotated[str, Field(min_length=3, max_length=8, pattern="^[A-Z0-9-]+$")]


class Size(Enum):
    """Sizes of a parcel."""

    SMALL = "s"
    LARGE = "l"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Colour(StrEnum):
    RED = "red"


@dataclass
class Item:
    """A line of an order."""

    sku: Sku
    unit_price: Decimal
    amount: Annotated[int, Field(ge=1)] = 1
    tags: list[str] = field(default_factory=list)


class Address(BaseModel):
    street: str = Field(min_length=1, description="Street and number.")
    zip_code: str | None = None
    kind: Literal["home", "work"] = "home"
    old_name: str = Field(default="", deprecated="Use `street`.")


HOME = Address(street="x")


class Order(BaseModel):
    items: list[Item] = Field(min_length=1)
    address: Address | None = None
    by_name: str = Field(default="x", alias="byAlias")


class Point(Dictionary, total=False):
    x: int
    y: int


class Receipt(TypedDict):
    """The result."""

    total: Decimal
    paid_at: datetime | None
    items: list[Item]


SHOWN: dict[str, tuple[Handler, str]] = {}


def shown(name: str, sdl: str, **options: Any) -> Callable[[Callable[..., Any]], Handler]:
    def note(function: Callable[..., Any]) -> Handler:
        made = handler(f"sig.{name}", mutation=options.pop("mutation", True), **options)(function)
        SHOWN[made.name] = (made, sdl)
        return made

    return note


@shown("nothing", "")
async def nothing(job: JobContext) -> None: ...
@shown("text", "a: String!")
async def text(job: JobContext, *, a: str) -> None: ...
@shown("number", "a: Int!")
async def number(job: JobContext, *, a: int) -> None: ...
@shown("real", "a: Float!")
async def real(job: JobContext, *, a: float) -> None: ...
@shown("truth", "a: Boolean!")
async def truth(job: JobContext, *, a: bool) -> None: ...
@shown("id", "a: ID!")
async def id_(job: JobContext, *, a: ID) -> None: ...
@shown("new_type", "a: Int!")
async def new_type(job: JobContext, *, a: Cents) -> None: ...
@shown("moment", "a: DateTime!")
async def moment(job: JobContext, *, a: datetime) -> None: ...
@shown("day", "a: Date!")
async def day(job: JobContext, *, a: date) -> None: ...
@shown("hour", "a: Time!")
async def hour(job: JobContext, *, a: time) -> None: ...
@shown("span", "a: Duration!")
async def span(job: JobContext, *, a: timedelta) -> None: ...
@shown("exact", "a: Decimal!")
async def exact(job: JobContext, *, a: Decimal) -> None: ...
@shown("uuid", "a: UUID!")
async def uuid(job: JobContext, *, a: UUID) -> None: ...
@shown("url", "a: String!")
async def url(job: JobContext, *, a: AnyUrl) -> None: ...
@shown("big", '"""0 to 9,007,199,254,740,992.""" a: BigInt!')
async def big(job: JobContext, *, a: Annotated[int, Field(ge=0, le=2**53)]) -> None: ...
@shown("enum", "a: Size!")
async def enum(job: JobContext, *, a: Size) -> None: ...
@shown("int_enum", "a: Level!")
async def int_enum(job: JobContext, *, a: Level) -> None: ...
@shown("str_enum", "a: Colour! = RED")
async def str_enum(job: JobContext, *, a: Colour = Colour.RED) -> None: ...
@shown("literal", "a: SigLiteralA!")
async def literal(job: JobContext, *, a: Literal["air", "sea"]) -> None: ...
@shown("literal_words", "a: String!")
async def literal_words(job: JobContext, *, a: Literal["by air", "by sea"]) -> None: ...
@shown("literal_numbers", "a: Int! = 2")
async def literal_numbers(job: JobContext, *, a: Literal[1, 2] = 2) -> None: ...
@shown("literal_or_none", "a: SigLiteralOrNoneA")
async def literal_or_none(job: JobContext, *, a: Literal["air", None]) -> None: ...  # noqa: PYI061 - as people write it
@shown("literal_big", "a: BigInt!")
async def literal_big(job: JobContext, *, a: Literal[1, 4294967296]) -> None: ...
@shown("literal_members", "a: String!")
async def literal_members(job: JobContext, *, a: Literal[Size.SMALL]) -> None: ...
@shown("root", "a: [Int!]! b: [ItemInput!]")
async def root(job: JobContext, *, a: RootModel[list[int]], b: RootModel[list[Item]] | None) -> None: ...
@shown("of_text", "a: String! b: String! c: String! d: JSON!")
async def of_text(job: JobContext, *, a: Path, b: IPv4Address, c: Base64Bytes, d: OrderedDict[int, str]) -> None: ...
@shown("texts", "a: [String!]!")
async def texts(job: JobContext, *, a: list[str]) -> None: ...
@shown("bare_list", "a: [JSON!]!")
async def bare_list(job: JobContext, *, a: list) -> None: ...  # type: ignore[type-arg]
@shown("nested_lists", "a: [[Int!]!]!")
async def nested_lists(job: JobContext, *, a: list[list[int]]) -> None: ...
@shown("holes", "a: [Int]!")
async def holes(job: JobContext, *, a: list[int | None]) -> None: ...
@shown("tuples", "a: [Int!]! b: [Float!]!")
async def tuples(job: JobContext, *, a: tuple[int, ...], b: tuple[float, float]) -> None: ...
@shown("sets", "a: [String!]! b: [Int!]!")
async def sets(job: JobContext, *, a: set[str], b: Sequence[int]) -> None: ...
@shown("optional", "a: String b: Int c: [String!]")
async def optional(job: JobContext, *, a: str | None, b: int | None = None, c: list[str] | None = None) -> None: ...
@shown("defaults", 'a: String! = "x" b: Int! = 3 c: Boolean! = true d: Float! = 1.5 e: [Int!]! = [1, 2]')
async def defaults(
    job: JobContext,
    *,
    a: str = "x",
    b: int = 3,
    c: bool = True,
    d: float = 1.5,
    e: list[int] = [1, 2],  # noqa: B006
) -> None: ...
@shown("scalars", 'a: Duration! = "PT1H" b: Date! = "2030-01-31" c: Decimal! = "1.10" d: SigScalarsD! = sea')
async def scalars(
    job: JobContext,
    *,
    a: timedelta = timedelta(hours=1),
    b: date = date(2030, 1, 31),
    c: Decimal = Decimal("1.10"),
    d: Literal["air", "sea"] = "sea",
) -> None: ...
@shown("moment_default", 'a: DateTime! = "2030-01-01T00:00:00.000000Z" b: DateTime')
async def moment_default(
    job: JobContext,
    *,
    a: datetime = datetime(2030, 1, 1, tzinfo=UTC),
    b: datetime = datetime(2030, 1, 1),  # noqa: DTZ001 - without a zone no DateTime can be printed
) -> None: ...
@shown("null_default", 'a: String = "x"')
async def null_default(job: JobContext, *, a: str | None = "x") -> None: ...
@shown("json", "a: JSON! b: JSON c: JSON! d: JSON!")
async def json(job: JobContext, *, a: Any, b: dict[str, int] = {}, c: dict[str, Any], d: JsonValue) -> None: ...  # noqa: B006
@shown("dataclass", "a: ItemInput! b: [ItemInput!]!")
async def dataclass_(job: JobContext, *, a: Item, b: list[Item]) -> None: ...
@shown("model", "a: OrderInput! b: AddressInput")
async def model(job: JobContext, *, a: Order, b: Address = HOME) -> None: ...
@shown("typed_dict", "a: PointInput!")
async def typed_dict(job: JobContext, *, a: Point) -> None: ...
@shown(
    "limits",
    '"""More than 0. Less than 1.""" a: Float! """At most 3 items.""" b: [String!]! """A multiple of 5.""" c: Int!',
)
async def limits(
    job: JobContext,
    *,
    a: Annotated[float, Field(gt=0, lt=1)],
    b: Annotated[list[str], Len(0, 3)],
    c: Annotated[int, Field(multiple_of=5)],
) -> None: ...
@shown(
    "words",
    '"""Its number. At least 1.""" a: Int! """The town.""" b: String! """The street, as it is on maps.""" c: String!',
)
async def words(  # noqa: D417 - the other ones say it themselves
    job: JobContext,
    *,
    a: Annotated[int, Field(description="Its number.", ge=1)],
    b: Annotated[str, Doc("The town.")],
    c: str,
) -> None:
    """Tell.

    Args:
        c: The street, as it
            is on maps.
    """


@shown("snake_case", "firstName: String! at2: Int!")
async def snake_case(job: JobContext, *, first_name: str, at_2: int) -> None: ...
@shown("texts_of_people", 'a: String! """The text, of 1 to 10,000 characters.""" b: String!')
async def texts_of_people(job: JobContext, *, a: Email, b: Text) -> None: ...
@shown("bounded", '"""At least 2.""" a: Int')
async def bounded(job: JobContext, *, a: Annotated[int, Ge(2)] | None = None) -> None: ...
@shown(
    "old",
    'a: Int @deprecated(reason: "No more.")',
    mutation=Mutation("oldOne", deprecated="Use `sigNumber`.", description="As before."),
)
async def old(job: JobContext, *, a: Annotated[int | None, Field(deprecated="No more.")] = None) -> Receipt:
    raise NotImplementedError
