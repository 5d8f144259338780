"""`email.welcome`: who registers gets a message."""

import asyncio
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from onward import JobContext, Retry, handler
from onward.mail.message import compose, mailbox, visible

if TYPE_CHECKING:
    from jinja2 import Environment


def one_address(text: str) -> str:
    """The text, if mail can be sent to it. Raises ValueError."""
    mailbox(text)
    return text


Recipient = Annotated[str, AfterValidator(one_address)]
Username = Annotated[str, Field(min_length=1, max_length=200)]


@handler("email.welcome", retry=Retry(max_attempts=8), timeout=timedelta(seconds=30))
async def welcome(job: JobContext, *, email: Recipient, username: Username, known: bool = False) -> None:
    """The message is with the mail server. A repeated one has the same Message-ID.

    Where the address is `known` already its owner hears of it; by one handler, so that the jobs look alike.
    """
    if not templates.cache_info().currsize:  # the library takes a tenth of a second to load: not on the event loop
        await asyncio.to_thread(templates)
    name = "known" if known else "welcome"
    words = {"username": visible(username)}
    message = compose(
        id=job.id,
        sender=job.tools.mailer.sender,
        recipient=mailbox(email),
        subject="You are registered already" if known else "Welcome to Onward",
        text=templates().get_template(f"{name}.txt").render(words),
        html=templates().get_template(f"{name}.html").render(words),
    )
    await job.tools.mailer.send(message)


@cache  # compiled once; nothing in it changes afterwards
def templates() -> "Environment":
    """The messages' templates; HTML escapes what it is given."""
    # With the first message, like all that a start can do without.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # noqa: PLC0415

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        auto_reload=False,
        keep_trailing_newline=True,
    )
