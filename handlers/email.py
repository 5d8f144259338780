"""`email.welcome`: send a message to a user who has registered."""

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
    """Return the text if mail can be sent to it. Raises ValueError."""
    mailbox(text)
    return text


Recipient = Annotated[str, AfterValidator(one_address)]
Username = Annotated[str, Field(min_length=1, max_length=200)]


@handler("email.welcome", retry=Retry(max_attempts=8), timeout=timedelta(seconds=30))
async def welcome(job: JobContext, *, email: Recipient, username: Username, known: bool = False) -> None:
    """Send the message to the mail server. A repeated one has the same Message-ID.

    The owner of an address that is `known` already gets another message, by the same handler: the jobs look alike.
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


@cache  # compiled once, and not changed afterwards
def templates() -> "Environment":
    """Return the templates of the messages; those in HTML escape their values."""
    # Imported for the first message: a start does without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # noqa: PLC0415

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        auto_reload=False,
        keep_trailing_newline=True,
    )
