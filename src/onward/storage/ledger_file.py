"""The identity of SQLite's files: the open connections and the ledger's path must name the same files.

A file that is deleted, moved or replaced under a running process goes on taking commits that nobody will find again.
So each transaction compares the inodes, which takes some microseconds.
"""

from __future__ import annotations

import os
from pathlib import Path

from onward.storage.base import FileReplaced

SUFFIXES = ("", "-wal", "-shm")
_Inode = tuple[int, int]


class LedgerFile:
    """The ledger's file as this process first opened it; -wal and -shm as the open write connection has them."""

    def __init__(self, path: Path) -> None:
        self._path = self._resolved = str(path)
        self._held: dict[str, _Inode] = {}

    @property
    def is_known(self) -> bool:
        """True if the file was opened before; then it must not be created anew."""
        return bool(self._held)

    def hold(self) -> None:
        """Remember the ledger's file, just opened. Later calls change nothing."""
        if not self._held and (found := _inode(self._path)) is not None:
            self._held[""] = found
            self._resolved = os.path.realpath(self._path)  # SQLite's other files are beside what a link names

    def hold_wal(self) -> None:
        """Remember -wal and -shm, which stay for as long as a connection is open."""
        for suffix in SUFFIXES[1:]:
            if (found := _inode(self._beside(suffix))) is not None:
                self._held[suffix] = found

    def release_wal(self) -> None:
        """Forget -wal and -shm: SQLite removes them with the last connection."""
        for suffix in SUFFIXES[1:]:
            self._held.pop(suffix, None)

    def verify(self) -> None:
        """Raise FileReplaced unless the files at the path are those that were opened."""
        for suffix, held in tuple(self._held.items()):
            found = _inode(self._beside(suffix))
            if found != held:
                what = "was moved or deleted" if found is None else "was replaced by another one"
                raise FileReplaced(
                    f"{self._beside(suffix)} {what} while in use: move it back, or stop all processes, restore it"
                    " and start them again"
                )

    def _beside(self, suffix: str) -> str:
        return self._resolved + suffix if suffix else self._path


def _inode(path: str) -> _Inode | None:
    """The file's device and inode; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - for each transaction: a Path costs as much as the call
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
