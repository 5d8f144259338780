"""Messages that were written into files, shown in development."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated

import strawberry

from onward.graphql.base import check_number
from onward.graphql.context import Info
from onward.graphql.resolvers import query
from onward.mail import mailbox

MAX_SHOWN = 50


@strawberry.type(description="A message in `email.directory`.")
class Letter:
    id: strawberry.ID = strawberry.field(description="The file's name; for a job's message, the job's id.")
    recipient: str
    subject: str
    sent_at: datetime | None
    text: str = strawberry.field(description="The text part.")

    @classmethod
    def is_type_of(cls, obj: object, _info: object) -> bool:
        return isinstance(obj, mailbox.SentEmail)


@query
async def sent_emails(
    info: Info, first: Annotated[int, strawberry.argument(description=f"So many, at most {MAX_SHOWN}.")] = 20
) -> list[mailbox.SentEmail] | None:
    check_number("first", first, MAX_SHOWN)
    directory = info.context.services.mail_directory
    if directory is None or not info.context.viewer.visible.everything:
        return None
    meter = info.context.meter
    # A caller's turn, as for the ledger: the loop's default threads are needed for more than pages.
    return await meter.shares.reads.run(meter.caller, partial(asyncio.to_thread, mailbox.newest, directory, first))
