"""Files for their user alone, which survive a power cut."""

import os
from pathlib import Path


def private_directory(path: Path) -> None:
    """Make the directory and its missing parents, for the user alone, whatever the umask."""
    if not path.is_dir():
        private_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path) -> None:
    """Make an empty file for the user alone; an existing one stays as it is."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def sync_directory(path: Path) -> None:
    """Write the names of the directory's files to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
