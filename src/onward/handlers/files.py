"""What a file needs to outlive a power cut."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """The names of the directory's files are on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
