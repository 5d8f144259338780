"""Reading messages from files: other files are ignored."""

import os
from pathlib import Path

import pytest

from onward.mail.mailbox import MAX_BYTES, newest

HEAD = "To: ada@example.com\nSubject: Tea\nDate: Tue, 24 Nov 2026 10:00:00 +0000\n"


def put(folder: Path, name: str, content: str | bytes, at: int = 1) -> None:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (at, at))


def test_the_newest_messages_come_first_up_to_the_limit(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path, f"job_{number}.eml", f"{HEAD}\nNumber {number}", at=number + 1)
    assert [letter.text for letter in newest(tmp_path, 2)] == ["Number 4", "Number 3"]
    assert newest(tmp_path, 0) == []


def test_a_message_has_recipient_subject_text_and_time(tmp_path: Path) -> None:
    put(tmp_path, "job_1.eml", f"{HEAD}\nThe tea is ready.")
    [letter] = newest(tmp_path, 9)
    assert (letter.id, letter.recipient, letter.subject) == ("job_1", "ada@example.com", "Tea")
    assert letter.sent_at is not None
    assert letter.sent_at.isoformat() == "2026-11-24T10:00:00+00:00"


def test_incomplete_and_other_files_are_not_shown(tmp_path: Path) -> None:
    put(tmp_path, ".abc.part", f"{HEAD}\nhalf")
    put(tmp_path, "notes.txt", "no message")
    assert newest(tmp_path, 9) == []
    assert newest(tmp_path / "missing", 9) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"Content-Type: text/plain; charset=nonsense\n\nwords",
        b"Date: yesterday\n\nwords",
        b"Content-Type: text/html\n\n<script>alert(1)</script>",
        b"Content-Type: multipart/mixed\n\nno boundary",
        HEAD.encode() + b"\n" + b"x" * (2 * MAX_BYTES),
    ],
)
def test_foreign_messages_are_shown_safely(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "odd.eml", content)
    put(tmp_path, "good.eml", f"{HEAD}\ngood")
    found = newest(tmp_path, 9)
    assert "good" in [letter.text for letter in found]
    assert all(len(letter.text) <= MAX_BYTES for letter in found)
