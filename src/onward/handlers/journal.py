"""A log file of one JSON object a line, for many threads and processes."""

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Mapping
from copy import copy
from pathlib import Path

from onward.files import private_directory, sync_directory
from onward.findings import Finding, State, check_writable
from onward.handlers.base import JSON, HandlerError
from onward.text.visibility import escape_json

POLL_S = 0.005


class LogBusy(HandlerError):
    """Another process has held the lock of the log for too long."""

    code = "LOG_BUSY"


class _NoRoom(OSError):
    """Not all of the lines fit on the disk, and none was written."""


class _Line:
    """A line that a thread wants to have written, and the error of whoever took it to do so."""

    __slots__ = ("data", "error")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.error: Exception | None = None


class JsonLines:
    """A log of one JSON object a line. Any number of threads and processes may append to it.

    The thread that has the lock writes the lines of those that wait for it, too: one wait for the disk serves all.
    """

    def __init__(self, path: Path, *, timeout_s: float = 10.0) -> None:
        """Open nothing yet. `timeout_s` bounds the wait for other threads and processes."""
        self.path = path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._waiting: dict[_Line, None] = {}  # in the order they came

    def check(self) -> Finding:
        """Check that the log can be written; make nothing."""
        if self.path.is_file() and not os.access(self.path, os.R_OK | os.W_OK):
            fix = "give it to this user, or correct log.path"
            return Finding("log", State.WRONG, f"{self.path} cannot be written", fix)
        if self.path.exists() and not self.path.is_file():
            return Finding("log", State.WRONG, f"{self.path} is no file", "move it away, or correct log.path")
        return check_writable("log", self.path.parent, "log.path")

    def append(self, entry: Mapping[str, JSON]) -> None:
        """Write the entry to disk, on a line of its own. Raises `LogBusy`, OSError, or ValueError if it is not JSON."""
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        mine = _Line(escape_json(line).encode() + b"\n")
        deadline = time.monotonic() + self._timeout_s
        self._waiting[mine] = None
        if not self._lock.acquire(timeout=self._timeout_s):
            if self._take(mine):
                raise LogBusy("The log was busy for too long.")
            self._lock.acquire()  # whoever has taken the line is about to say what became of it
        try:
            if self._take(mine):
                self._write_with_others(mine, deadline)
        finally:
            self._lock.release()
        if mine.error is not None:
            raise copy(mine.error)

    def _take(self, line: _Line) -> bool:
        """Take the line out of those that wait; return False if somebody has taken it."""
        return self._waiting.pop(line, self) is None

    def _write_with_others(self, mine: _Line, deadline: float) -> None:
        """Write the line and all that wait, or this one alone if they do not fit on the disk together."""
        others = [line for line in list(self._waiting) if self._take(line)]
        try:
            self._write(b"".join(line.data for line in (mine, *others)), deadline)
        except _NoRoom:
            self._waiting.update(dict.fromkeys(others))  # they have their turns: one of them may be too long
            if not others:
                raise
            self._write(mine.data, deadline)
        except Exception as error:
            for line in others:
                line.error = error
            raise

    def _write(self, data: bytes, deadline: float) -> None:
        # Opened each time, so that a log that was rotated away is not written to.
        fd = self._open()
        try:
            _lock(fd, deadline)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data  # the line before was cut off by a crash
            if os.write(fd, data) != len(data):
                os.ftruncate(fd, size)
                raise _NoRoom(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self.path, flags)
        except FileNotFoundError:
            private_directory(self.path.parent)
            fd = os.open(self.path, flags | os.O_CREAT, 0o600)
            sync_directory(self.path.parent)
            return fd


def _lock(fd: int, deadline: float) -> None:
    # Polled, or a process that is frozen with the lock would hold this thread for ever. Closing releases the lock.
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LogBusy("The log was busy for too long.") from None
            time.sleep(POLL_S)
