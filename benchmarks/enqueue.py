"""Enqueues jobs as an application does, 64 at once: `python -m benchmarks.enqueue COUNT`.

Prints jobs a second, and the processor time of each.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from benchmarks.base import PROJECT
from onward import JobRequest, Onward

AT_ONCE = 64


async def main(count: int) -> None:
    async with Onward.from_settings(PROJECT) as onward:

        async def some(numbers: range) -> None:
            for number in numbers:
                await onward.enqueue(JobRequest("bench.nothing", {"n": number}))

        await asyncio.gather(*(some(range(1)) for _ in range(AT_ONCE)))  # the connections are made
        began, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(some(range(first, count - AT_ONCE, AT_ONCE)) for first in range(AT_ONCE)))
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
        sent = count - AT_ONCE
        sys.stdout.write(json.dumps({"per_second": sent / took_s, "cpu_us": cpu_s / sent * 1e6}) + "\n")


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
