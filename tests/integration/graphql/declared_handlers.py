"""Handlers that are mutations, with results of declared types, for the tests of both."""

import base64
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import AnyUrl, Base64Bytes, BaseModel, Field, RootModel
from typing_extensions import TypedDict

from onward import JobContext, Mutation, Refused, Tx, Viewer, handler, sequence


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Item:
    sku: Annotated[str, Field(min_length=3)]
    unit_price: Annotated[Decimal, Field(ge=0)]
    size: Size = Size.SMALL
    tags: list[str] = field(default_factory=list)


class Address(BaseModel):
    street: str = Field(min_length=1)
    zip_code: str | None = None


class Order(BaseModel):
    items: list[Item] = Field(min_length=1)
    address: Address


@dataclass
class Receipt:
    total: Decimal
    items: list[Item]
    paid_at: datetime


class Figures(TypedDict):
    """The figures of a text."""

    words: int
    longest: str | None


@dataclass
class Ticket:
    id: str
    made_at: Annotated[int, Field(lt=2**63)]
    seats: int = 1


class Numbers(RootModel[list[int]]): ...


@dataclass
class Place:
    folder: Path
    price: Decimal


class Plan(BaseModel):
    """One field of each type that JSON and GraphQL write in forms of their own."""

    url: AnyUrl
    folder: Path
    by_number: dict[int, Path]
    by_id: OrderedDict[UUID, Decimal]
    numbers: Numbers
    nested: list[Numbers]
    span: timedelta
    sizes: frozenset[Size]
    host: IPv4Address
    picture: Base64Bytes
    pair: tuple[int, Path]
    price: Decimal | Size
    address: Address | None
    theirs: str = Field(alias="theAlias")


@handler("shop.plan", mutation=True)
def plan(
    job: JobContext,
    *,
    url: AnyUrl,
    folder: Path,
    by_number: dict[int, Path],
    numbers: Numbers,
    span: timedelta,
    sizes: frozenset[Size],
    host: IPv4Address,
    picture: Base64Bytes,
) -> Plan:
    return Plan(
        url=url,
        folder=folder / "b",
        by_number=by_number,
        by_id=OrderedDict({UUID(int=7): Decimal("1.10")}),
        numbers=numbers,
        nested=[numbers],
        span=span,
        sizes=sizes,
        host=host,
        picture=base64.b64encode(picture),
        pair=(1, folder),
        price=Decimal("1.10"),
        address=Address(street="Main"),
        theAlias="x",
    )


@handler("shop.names", mutation=True)
async def names(
    job: JobContext,
    *,
    self: int,
    step: int,
    running: int,
    request: int,
    handler: int,
    input: int,
    id: int,
    info: int,
    root: int,
    params: int,
    from_: int,
    a_b2: int,
    type: Literal["class", "None"],
) -> list[int]:
    return [self, step, running, request, handler, input, id, info, root, params, from_, a_b2]


@handler("shop.paths", mutation=True)
def paths(job: JobContext, *, folder: Path) -> list[Path]:
    return [folder, folder / "b"]


@handler("shop.order", mutation=True)
async def order(
    job: JobContext,
    *,
    order: Order,
    how: Literal["air", "sea"] = "air",
    note: str | None,
    wait: timedelta = timedelta(hours=1),
    limit: int = 5,
) -> Receipt:
    """Order something."""
    total = sum((item.unit_price for item in order.items), Decimal(0))
    return Receipt(total, order.items, datetime(2030, 1, 1, tzinfo=UTC))


@handler("shop.count", mutation="countWords")
def count(job: JobContext, *, text: str) -> Figures | None:
    words = text.split()
    return {"words": len(words), "longest": max(words, key=len, default=None)} if text else None


@handler("shop.wrong", mutation=True)
def wrong(job: JobContext, *, big: bool = False) -> Figures:
    return {"words": 2**40, "longest": None} if big else {"words": "three", "longest": None}  # type: ignore[typeddict-item]


@handler("shop.shout", mutation=True)
def shout(job: JobContext, *, extra: dict[str, Any]) -> dict[str, Any]:
    return extra


@handler("shop.mark", mutation=True)
def mark(job: JobContext, *, mark: Any = True) -> None: ...


@handler("shop.close", mutation=Mutation(roles=["shop"]))
def close(job: JobContext) -> None: ...


@handler("shop.open", mutation=Mutation(allow=lambda viewer: viewer.subject == "ada"))
def open_(job: JobContext) -> None: ...


@handler("shop.pay", mutation=True, secret=frozenset({"pin"}))
def pay(job: JobContext, *, pin: Annotated[str, Field(min_length=4)], amount: int) -> int:
    return amount * len(pin)


def write_ticket(tx: Tx, *, items: list[Item], viewer: Viewer) -> Ticket:
    if viewer.subject == "mallory":
        raise Refused("You have tickets enough.", code="CONFLICT")
    for index, item in enumerate(items):
        if item.sku == "none":
            raise Refused("There is none left.", code="NOT_FOUND", path=("items", index, "unit_price"))
    return Ticket(tx.new_id("ticket"), tx.now, 2**40 if any(item.sku == "many" for item in items) else 1)


def read_ticket(tx: Tx, id: str) -> Ticket:
    return Ticket(id, tx.scalar(sa.text("SELECT 7")) or 0)


@handler("shop.ticket", mutation=Mutation(beside=write_ticket, read=read_ticket))
def ticket(job: JobContext, *, items: list[Item]) -> None: ...


@dataclass
class Seat:
    label: str


def write_seat(tx: Tx, *, limit: int | None) -> Seat:
    return Seat(f"{limit}")


@handler("shop.seat", mutation=Mutation(beside=write_seat))
def seat(job: JobContext, *, limit: int | None = 5) -> None: ...


@dataclass
class Voucher:
    code: str


def write_voucher(tx: Tx, *, code: str) -> Voucher:
    return Voucher(code)


@handler("shop.voucher", mutation=Mutation(beside=write_voucher))
def voucher(job: JobContext, *, code: str = Field(default_factory=lambda: uuid4().hex)) -> str:
    return code


@dataclass
class Granted:
    until: datetime


@dataclass
class Denied:
    reason: str


class Counted(TypedDict):
    """A figure."""

    figure: int


class Named(TypedDict):
    """A name."""

    name: str


@handler("shop.decide", mutation=True)
def decide(job: JobContext, *, how: str) -> Granted | Denied | Counted | Named:
    if how == "counted":
        return {"figure": 1}
    if how == "named":
        return {"name": "x"}
    return Granted(datetime(2030, 1, 1, tzinfo=UTC)) if how == "granted" else Denied("no")


@handler("shop.chain", mutation=True)
def chain(job: JobContext, *, text: str) -> str:
    return job.dispatch(count.job(text=text), run_at=datetime(2100, 1, 1, tzinfo=UTC))


async def first(job: JobContext, *, number: int) -> int:
    """Count on."""
    return number + 1


def draft(job: JobContext, *, number: int) -> Place:
    return Place(Path("/a"), Decimal(number))


def publish(job: JobContext, value: dict[str, str]) -> Address:
    return Address(street=value["folder"] + value["price"])


published = sequence("shop.publish", [draft, publish], mutation=True)


async def last(job: JobContext, value: int) -> Address:
    return Address(street=str(value))


both = sequence("shop.both", [first, last], mutation=True)
