"""Messages of the file mailer, to be looked at during development."""

import os
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from heapq import nlargest
from pathlib import Path
from typing import NamedTuple

MAX_BYTES = 200_000


class SentEmail(NamedTuple):
    """One message, as text; its content is not trusted."""

    id: str
    recipient: str
    subject: str
    sent_at: datetime | None
    text: str


def newest(directory: Path, limit: int) -> list[SentEmail]:
    """The newest messages, newest first; unreadable files are left out."""
    if not limit:
        return []
    try:
        with os.scandir(directory) as entries:
            files = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.name.endswith(".eml")]
    except OSError:
        return []
    return [found for _, path in nlargest(limit, files) if (found := _read(Path(path))) is not None]


def _read(path: Path) -> SentEmail | None:
    try:
        with path.open("rb") as file:
            message = message_from_bytes(file.read(MAX_BYTES), policy=policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - what this policy makes
        body = message.get_body(("plain",))
        return SentEmail(
            path.stem,
            str(message["To"] or ""),
            str(message["Subject"] or ""),
            message["Date"].datetime if message["Date"] else None,
            str(body.get_content()) if body else "",
        )
    except (OSError, ValueError, LookupError, AttributeError):  # deleted meanwhile, or not a message
        return None
