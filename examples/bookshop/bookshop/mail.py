"""Outgoing mail. Messages become files here; an application in production calls its mail provider."""

import os
from email.message import EmailMessage
from pathlib import Path

FOLDER = Path(os.environ.get("MAIL_DIR", "var/mail"))


def send(to: str, subject: str, text: str, *, key: str) -> None:
    """Send a message; the same key sends it once, however often it is called."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Bookshop <shop@example.org>", to, subject
    message.set_content(text)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{key}.eml").write_bytes(bytes(message))
