"""Load from a process of its own: wrk if it is installed, else a client of ours, which may be the bottleneck."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.base import BenchError

CONNECTIONS = 64
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Load:
    """Answers of a server under load."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int


def program() -> str:
    """Return the program that makes the load."""
    return "wrk" if shutil.which("wrk") else "our own client; install wrk, which is quicker"


def post(url: str, body: bytes, *, seconds: float, folder: Path) -> Load:
    """Send the same request repeatedly on many connections and measure the answers. Raises BenchError."""
    if not shutil.which("wrk"):
        return _own(url, body, seconds, folder)
    script = folder / "post.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = {json.dumps(body.decode())}\n"
    )
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds:.0f}s",
        "--timeout",
        "10s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(f"wrk failed: {run.stderr.strip() or run.stdout.strip()}")
    return _read(run.stdout)


def _read(text: str) -> Load:
    total = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if total is None or rate is None:
        raise BenchError(f"wrk said something unexpected:\n{text}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    lost = sum(map(int, sockets.groups())) if sockets else 0
    return Load(
        int(total[1]),
        float(rate[1]),
        _percentile(text, 50),
        _percentile(text, 99),
        lost + (int(wrong[1]) if wrong else 0),
    )


def _percentile(text: str, share: int) -> float:
    found = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)", text, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _own(url: str, body: bytes, seconds: float, folder: Path) -> Load:
    given = folder / "body.json"
    given.write_bytes(body)
    command = [sys.executable, "-m", "benchmarks.client", url, str(given), str(seconds), str(CONNECTIONS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise BenchError(f"the client failed: {run.stderr.strip()}")
    return Load(**json.loads(run.stdout))
