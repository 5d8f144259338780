"""Files for their user alone, which survive a power cut."""

import errno
import os
from pathlib import Path


def private_directory(path: Path) -> None:
    """Make the directory and its missing parents, for the user alone, whatever the umask."""
    if not path.is_dir():
        private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path) -> None:
    """Make an empty file for the user alone; an existing one stays as it is. Raises OSError if it cannot be written.

    An existing file is not opened: to close it again would end all locks that the process has on it (POSIX), also those
    of SQLite's connections, and another process would delete the log that they write.
    """
    target = Path(os.path.realpath(path))  # a link may name a file that is not there yet
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target)) from None
        if not os.access(target, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target)) from None


def sync_directory(path: Path) -> None:
    """Write the names of the directory's files to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
