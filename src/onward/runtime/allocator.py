"""The C library's memory of a process that lives long, set so that freed memory is used again or given back.

glibc gives nearly each thread a pool of its own, which grows to the most that its thread has ever used at once; what is
free in one serves no other. And once a large block was freed, it takes blocks of that size from the pools, too, which
they leave in pieces. So resident memory grows for an hour, though nothing is held.
"""

import ctypes
import os
import sys
from contextlib import suppress

# Names of the environment, numbers of malloc.h, values: two pools (the interpreter's lock leaves little to wait for),
# and blocks from 128 kB on by themselves, which is the first value, kept from growing.
OPTIONS = (("MALLOC_ARENA_MAX", -8, 2), ("MALLOC_MMAP_THRESHOLD_", -3, 128 * 1024))


def limit_pools() -> None:
    """Set the options for all later threads; those of the environment win. Changes nothing with other C libraries."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            for name, number, value in OPTIONS:
                if name not in os.environ:
                    mallopt(number, value)
