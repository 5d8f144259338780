"""A handler that waits for a review, with a field of each kind that the form has."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from onward import JobContext, sequence, wait_for


class Grade(StrEnum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Author:
    name: str


class Review(BaseModel):
    stars: Annotated[int, Field(ge=1, le=5)]
    grade: Grade
    approved: bool = False
    comment: str = ""
    author: Author | None = None


async def draft(job: JobContext, *, text: str) -> str:
    return text


async def publish(job: JobContext, review: Review) -> str:
    author = review.author.name if review.author else "nobody"
    return f"{review.approved} {review.comment} {review.stars} {review.grade.value} {author}"


review = sequence("signals.review", (draft, wait_for("review", Review), publish), mutation=True)


class Survey(BaseModel):
    ok: bool | None = None
    number: int
    comment: str = "hi"
    grade: Grade | None = None


async def keep(job: JobContext, survey: Survey) -> dict[str, str]:
    return {name: repr(value) for name, value in survey}


survey = sequence("signals.survey", (draft, wait_for("survey", Survey), keep), mutation=True)
