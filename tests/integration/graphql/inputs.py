"""A module of a project with a oneOf input, a time, a data loader, and fields with extensions."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.extensions import FieldExtension

from onward.graphql.context import Context, Info

BATCHES: list[list[str]] = []


@strawberry.input(one_of=True)
class Pick:
    number: strawberry.Maybe[int]
    word: strawberry.Maybe[str]


class Shouting(FieldExtension):
    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **given: Any) -> Any:
        return next_(source, info, **given).upper()


async def _lengths(words: list[str]) -> list[int]:
    BATCHES.append(words)
    return [len(word) for word in words]


def lengths(_context: Context) -> DataLoader[str, int]:
    return DataLoader(_lengths)


def _text(root: strawberry.Parent[Any]) -> str:
    text: str = root.text
    return text


@strawberry.type
class Word:
    text: str

    @strawberry.field
    async def length(self, info: Info) -> int:
        return await info.context.once(lengths).load(self.text)

    loud: str = strawberry.field(resolver=_text, extensions=[Shouting()])


@strawberry.type
class Query:
    @strawberry.field
    def words(self) -> list[Word]:
        return [Word(text="one"), Word(text="three")]

    @strawberry.field
    def header(self, info: Info, name: str) -> str | None:
        return info.context.headers.get(name)

    @strawberry.field
    def picked(self, input: Pick) -> str:
        return f"number {input.number.value}" if input.number else f"word {input.word.value if input.word else None}"

    @strawberry.field
    def moment(self, at: datetime) -> datetime:
        return at


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def word_twice(self) -> AsyncIterator[Word]:
        yield Word(text="one")
        yield Word(text="one")
