"""Counts the jobs of a rival's workers at little cost: a line for every twentieth job."""

import itertools
import os
import time
from pathlib import Path

EVERY = 20
_numbers = itertools.count(1)


def tick() -> None:
    """Count one more job; each process has a file of its own in the folder BENCH_TALLY."""
    number = next(_numbers)
    if number % EVERY == 0:
        line = f"{time.monotonic()} {number}\n"
        with (Path(os.environ["BENCH_TALLY"]) / str(os.getpid())).open("a") as file:
            file.write(line)
