"""Writes the time at which a job began, by the clock that all processes of the machine share."""

import os
import time
from pathlib import Path


def write(path: str) -> None:
    now = time.monotonic()
    with Path(path).open("a") as file:
        file.write(f"{now} {os.getpid()}\n")
