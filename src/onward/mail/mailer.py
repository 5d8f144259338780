"""Writes messages into a directory; `smtp.py` sends them to a server."""

import asyncio
import hashlib
import os
import re
import tempfile
from email.message import EmailMessage
from pathlib import Path

from onward.files import private_directory, sync_directory
from onward.findings import Finding, check_writable
from onward.mail.message import envelope, sender_of


class FileMailer:
    """Writes each message as one .eml; the same Message-ID is the same file, so a repeated one replaces itself."""

    def __init__(self, directory: Path, sender: str) -> None:
        """Touch nothing yet. Raises ValueError unless `sender` is like `Name <address>`."""
        self.directory = directory
        self.sender = sender_of(sender)

    async def send(self, message: EmailMessage) -> None:
        """Write the whole message to disk. Raises `Permanent`, or OSError."""
        envelope(message)
        await asyncio.to_thread(self._write, file_name(message), message.as_bytes())

    async def check(self) -> Finding:
        """Check that messages can be written; make nothing."""
        return check_writable("email", self.directory, "email.directory")

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _write(self, name: str, data: bytes) -> None:
        private_directory(self.directory)
        # A name of its own for each try: two runners may be sending the same message.
        fd, aside = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.directory)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(self.directory / name)
        except BaseException:
            Path(aside).unlink()
            raise
        sync_directory(self.directory)


def file_name(message: EmailMessage) -> str:
    """A safe file name, made from the Message-ID."""
    given = str(message["Message-ID"] or "")
    match = re.fullmatch(r"<([A-Za-z0-9_-]{1,64})@[^@<>]*>", given)
    return f"{match[1] if match else hashlib.sha256(given.encode()).hexdigest()}.eml"
