"""Writing files so that they survive a power cut."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Write the names of the directory's files to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
