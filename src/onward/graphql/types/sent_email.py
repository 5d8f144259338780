"""The messages that were written into files, for who develops."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

import strawberry

from onward.graphql.base import told
from onward.graphql.context import Info
from onward.mail import mailbox

MOST = 50


@strawberry.type(description="A message in `email.directory`.")
class Letter:
    id: strawberry.ID = strawberry.field(description="The file's name; of a job's message, the job's id.")
    recipient: str
    subject: str
    sent_at: datetime | None
    text: str = strawberry.field(description="The text part.")

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, mailbox.Letter)


async def letters(
    info: Info, first: Annotated[int, strawberry.argument(description=f"So many, at most {MOST}.")] = 20
) -> list[mailbox.Letter] | None:
    if not 0 <= first <= MOST:
        raise told(f"`first` is between 0 and {MOST}.", "INVALID")
    directory = info.context.parts.letters
    if directory is None or not info.context.viewer.visible.everything:
        return None
    return await asyncio.to_thread(mailbox.newest, directory, first)
