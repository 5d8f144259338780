"""The GraphQL schema: books for everybody, orders for those who are signed in."""

from typing import Annotated, Any, Self

import strawberry
from fastapi import Depends
from graphql import GraphQLError
from sqlalchemy import select, update
from sqlalchemy.orm import joinedload
from strawberry.tools import merge_types

from bookshop import models
from bookshop.auth import current_user
from bookshop.confirmation import confirm
from bookshop.database import Session
from bookshop.jobs import onward

CurrentUser = Annotated[models.User | None, Depends(current_user)]
Info = strawberry.Info[dict[str, Any], None]


async def get_context(user: CurrentUser, jobs: Annotated[object, Depends(onward.context)]) -> dict[str, Any]:
    return {"user": user, "onward": jobs}


def signed_in(info: Info) -> models.User:
    """Return the user who asks. Raises GraphQLError for a guest."""
    user: models.User | None = info.context["user"]
    if user is None:
        raise GraphQLError("Sign in first.")
    return user


@strawberry.type
class User:
    email: str


@strawberry.type
class Book:
    id: strawberry.ID
    title: str
    author: str
    price_cents: int
    stock: int

    @classmethod
    def of(cls, book: models.Book) -> Self:
        return cls(
            id=strawberry.ID(str(book.id)),
            title=book.title,
            author=book.author,
            price_cents=book.price_cents,
            stock=book.stock,
        )


@strawberry.type
class Order:
    id: strawberry.ID
    quantity: int
    book: Book

    @classmethod
    def of(cls, order: models.Order) -> Self:
        return cls(id=strawberry.ID(str(order.id)), quantity=order.quantity, book=Book.of(order.book))


@strawberry.type
class PlaceOrderPayload:
    order: Order
    job: strawberry.ID


@strawberry.type
class Query:
    @strawberry.field
    async def me(self, info: Info) -> User | None:
        user = info.context["user"]
        return User(email=user.email) if user else None

    @strawberry.field
    async def books(self) -> list[Book]:
        async with Session() as db:
            return [Book.of(book) for book in await db.scalars(select(models.Book).order_by(models.Book.title))]

    @strawberry.field
    async def orders(self, info: Info) -> list[Order]:
        mine = (
            select(models.Order)
            .where(models.Order.user_id == signed_in(info).id)
            .options(joinedload(models.Order.book))
        )
        async with Session() as db:
            return [Order.of(order) for order in await db.scalars(mine.order_by(models.Order.id.desc()))]


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def place_order(self, info: Info, book: strawberry.ID, quantity: int = 1) -> PlaceOrderPayload:
        """Order copies of a book. The confirmation follows by e-mail."""
        user = signed_in(info)
        if quantity < 1:
            raise GraphQLError("Order one copy at least.")
        taken = (
            update(models.Book)
            .where(models.Book.id == int(book), models.Book.stock >= quantity)
            .values(stock=models.Book.stock - quantity)
            .returning(models.Book)
        )
        async with Session.begin() as db:
            found = await db.scalar(taken)
            if found is None:
                raise GraphQLError("There are not enough copies left.")
            order = models.Order(user_id=user.id, book=found, quantity=quantity)
            db.add(order)
            await db.flush()
            job = await onward.enqueue(confirm.job(order_id=order.id), owner=str(user.id), session=db)
        return PlaceOrderPayload(order=Order.of(order), job=strawberry.ID(job))


schema = strawberry.Schema(
    query=merge_types("Query", (Query, onward.Query)),
    mutation=merge_types("Mutation", (Mutation, onward.Mutation)),
    subscription=onward.Subscription,
)
