"""A report: its sections are drafted side by side, word by word; a person approves it; it is sent."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from html import escape

from onward import JobContext, Permanent, Results, batch, handler, sequence, wait_for
from onward.handlers.types import Email, Text
from onward.mail.message import compose, mailbox

SECTIONS = ("What is known", "What is not", "What to do")
TEXT = (
    "most of it was measured before, by others and with more patience; what they left out is short, and costs little to"
    " find: ask twice, write down what was said, and look again after a week or two"
)
A_WORD = timedelta(milliseconds=60)


async def model(topic: str, section: str) -> AsyncIterator[str]:
    """Give a section word by word. Put the stream of your model here; this one always says the same."""
    for word in f"{section} about {topic}: {TEXT}.".split():
        await asyncio.sleep(A_WORD.total_seconds())
        yield f"{word} "


@dataclass
class Approval:
    """The answer of whoever reads the draft."""

    approved: bool
    comment: str = ""


@dataclass
class Report:
    """The sections together, and who wants them."""

    topic: str
    email: str
    text: str


@handler("reports.draft")
async def draft(job: JobContext, *, topic: str, section: str) -> str:
    """Write one section; whoever watches the job reads along."""
    text = ""
    async for word in model(topic, section):
        job.emit(word)
        text += word
    return text


async def assemble(_job: JobContext, results: Results[str], *, topic: str, email: str) -> Report:
    """Put the sections together, in their order."""
    sections = [child.result async for child in results if child.result is not None]
    if len(sections) < len(SECTIONS):
        raise Permanent(f"{len(SECTIONS) - len(sections)} sections are missing")
    return Report(topic, email, "\n\n".join(sections))


async def send(job: JobContext, approval: Approval) -> str:
    """Send the report to whoever asked for it, if it was approved."""
    if not approval.approved:
        return f"not sent: {approval.comment or 'it was not approved'}"
    report = Report(**job.result_of("assemble"))
    text = f"{report.topic}\n\n{report.text}\n\n{approval.comment}".rstrip() + "\n"
    message = compose(
        id=job.id,
        sender=job.tools.mailer.sender,
        recipient=mailbox(report.email),
        subject="Your report",
        text=text,
        html=f"<pre>{escape(text)}</pre>",
    )
    await job.tools.mailer.send(message)
    return "sent"


finish = sequence("reports.finish", (assemble, wait_for("approval", Approval, timeout=timedelta(days=7)), send))


@handler("reports.write", mutation=True)
async def write(job: JobContext, *, topic: Text, email: Email) -> str:
    """Have a report drafted, approved and sent. The output is the batch of its sections."""
    sections = [draft.job(topic=topic, section=section) for section in SECTIONS]
    return job.dispatch(batch(sections, then=finish.job(topic=topic, email=email)))
