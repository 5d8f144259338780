"""A plain HTTP client that keeps connections busy: `python -m benchmarks.client URL BODY_FILE SECONDS CONNECTIONS`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Busy:
    """Totals over all connections."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.times_ms: list[float] = []
        self.refused = 0


async def keep(busy: Busy, host: str, port: int, request: bytes) -> None:
    """Send requests over one connection, each after the answer before."""
    reader, writer = await asyncio.open_connection(host, port)
    while time.perf_counter() < busy.until:
        sent = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        await reader.readexactly(int(length[1]) if length else 0)
        busy.times_ms.append((time.perf_counter() - sent) * 1000)
        busy.refused += not head.startswith(b"HTTP/1.1 200")
    writer.close()


async def main(url: str, body: bytes, seconds: float, connections: int) -> None:
    address = urlsplit(url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    head = f"POST {address.path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    busy = Busy(time.perf_counter() + seconds)
    await asyncio.gather(*(keep(busy, host, port, request) for _ in range(connections)))
    times = sorted(busy.times_ms)
    results = {
        "requests": len(times),
        "per_second": len(times) / seconds,
        "p50_ms": times[len(times) // 2],
        "p99_ms": times[len(times) * 99 // 100],
        "refused": busy.refused,
    }
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes(), float(sys.argv[3]), int(sys.argv[4])))
