"""A project's module of GraphQL types, as `[gql] modules` names one, with every kind of error."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import strawberry

SECRET = "redis://user:hunter2@10.0.0.7/0"


@strawberry.type
class Series:
    numbers: list[int]
    names: list[str | None]


@strawberry.type
class Query:
    @strawberry.field
    def raises(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.field
    async def cancels(self) -> str | None:
        raise asyncio.CancelledError  # as of a task that it awaits

    @strawberry.field
    def null(self) -> str:
        return None  # type: ignore[return-value]

    @strawberry.field
    def moment(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    @strawberry.field
    def naive(self) -> datetime:
        return datetime(2030, 1, 1)  # noqa: DTZ001 - as code may have it

    @strawberry.field
    def numbers(self, count: int) -> list[int]:
        return [7] * count

    @strawberry.field
    def series(self, count: int) -> list[Series]:
        return [Series(numbers=[7] * count, names=["x"] * count), Series(numbers=[], names=[None] * count)]

    @strawberry.field
    def echo(self, at: datetime) -> datetime:
        return at


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def raises_too(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.mutation
    async def cancels_too(self) -> str | None:
        raise asyncio.CancelledError


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def raises_later(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError(SECRET)

    @strawberry.subscription
    async def cancels_later(self) -> AsyncGenerator[int, None]:
        yield 1
        raise asyncio.CancelledError
