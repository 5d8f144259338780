"""A module of a project with a oneOf input and a time."""

from datetime import datetime

import strawberry


@strawberry.input(one_of=True)
class Pick:
    number: strawberry.Maybe[int]
    word: strawberry.Maybe[str]


@strawberry.type
class Query:
    @strawberry.field
    def picked(self, input: Pick) -> str:
        return f"number {input.number.value}" if input.number else f"word {input.word.value if input.word else None}"

    @strawberry.field
    def moment(self, at: datetime) -> datetime:
        return at
