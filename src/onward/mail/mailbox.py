"""What the file mailer has written, to be looked at while one develops."""

import os
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from heapq import nlargest
from pathlib import Path

LONGEST_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class SentEmail:
    """One message; its words are a stranger's, and nothing but text."""

    id: str
    recipient: str
    subject: str
    sent_at: datetime | None
    text: str


def newest(directory: Path, limit: int) -> list[SentEmail]:
    """The messages that were written last, the newest first; what cannot be read is left out."""
    if not limit:
        return []
    try:
        with os.scandir(directory) as entries:
            files = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.name.endswith(".eml")]
    except OSError:
        return []
    return [letter for _, path in nlargest(limit, files) if (letter := _read(Path(path))) is not None]


def _read(path: Path) -> SentEmail | None:
    try:
        with path.open("rb") as file:
            message = message_from_bytes(file.read(LONGEST_BYTES), policy=policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - what this policy makes
        body = message.get_body(("plain",))
        return SentEmail(
            path.stem,
            str(message["To"] or ""),
            str(message["Subject"] or ""),
            message["Date"].datetime if message["Date"] else None,
            str(body.get_content()) if body else "",
        )
    except (OSError, ValueError, LookupError, AttributeError):  # gone meanwhile, or somebody else's idea of a message
        return None
