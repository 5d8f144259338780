"""Batches of 100,000 children beside batches of ten: `python -m tests.system.batch_scale [postgresql://...]`.

Each size is measured in a process of its own, on an empty ledger: the memory of the process that enqueues, children
accepted a second until all are jobs, jobs claimed a second, and the time to count the children and to read all results.
A generator gives the children, whose parameters have a hundred bytes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from onward import JobRequest, Onward, batch
from onward.config.settings import load
from onward.jobs import batch_children, batches, claims
from onward.jobs.batch_results import BatchPages
from onward.runtime.database import database_of
from onward.storage import migrate
from onward.storage.tables import jobs
from onward.storage.writer import Writer
from onward.testing import workload

SIZES = (10, 100_000)
CHILDREN = 10_000  # that are accepted in batches of ten
CLAIMS, AT_ONCE = 3_000, 50
FOLDER = "x" * 100


def children(count: int) -> Iterator[JobRequest]:
    return (workload.part.job(folder=FOLDER, number=number) for number in range(count))


def memory_mb() -> float:
    """Return the largest resident memory that this process has had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def measure(folder: Path, size: int) -> dict[str, Any]:
    settings = load(folder)
    database = database_of(settings, embedded=True)
    await asyncio.to_thread(migrate.upgrade, database)
    writer = Writer(database)
    writer.start()
    count_jobs = sa.select(sa.func.count()).select_from(jobs)
    found: dict[str, Any] = {"size": size}
    async with Onward.from_settings(folder) as onward:
        batch_id = await onward.enqueue(batch(children(10)))
        before_mb, began = memory_mb(), time.perf_counter()
        repeated = max(CHILDREN // size, 1)
        for _ in range(repeated):
            batch_id = await onward.enqueue(batch(children(size), then=workload.total.job(folder=FOLDER)))
        found["enqueue_s"] = time.perf_counter() - began
        total = 10 + repeated * size
        while (await database.read(lambda tx: tx.scalar(count_jobs)) or 0) < total:
            await asyncio.sleep(0.01)
        took_s = time.perf_counter() - began
        found |= {
            "accepted_per_s": repeated * size / took_s,
            "memory_mb": memory_mb(),
            "grown_mb": memory_mb() - before_mb,
        }
    began, claimed = time.perf_counter(), 0
    claim = partial(claims.claim_due, runner="r", worker="w", backend="background", limit=AT_ONCE)
    while claimed < CLAIMS:
        claimed += len(await writer.run(claim))
    found["claimed_per_s"] = claimed / (time.perf_counter() - began)
    there = await database.read(partial(batches.get, batch_id=batch_id))
    assert there is not None
    began = time.perf_counter()
    await database.read(partial(batch_children.counts, batch=there))
    found["counts_ms"] = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    await database.read(partial(batches.look, batch_id=batch_id))
    found["look_ms"] = (time.perf_counter() - began) * 1000
    ended = sa.update(jobs).where(jobs.c.batch == batch_id).values(status="SUCCEEDED", result='{"width": 640}')
    await writer.run(lambda tx: tx.execute(ended))
    pages, after, before_mb, began = BatchPages(database, there), -1, memory_mb(), time.perf_counter()
    read = 0
    while page := await pages.read_async(after):
        after, read = page[-1][0], read + len(page)
    assert read == size
    found |= {"results_per_s": read / (time.perf_counter() - began), "results_grown_mb": memory_mb() - before_mb}
    await asyncio.to_thread(writer.close)
    await asyncio.to_thread(database.close)
    return found


def run(server_url: str | None) -> None:
    results = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            name = f"scale_{uuid.uuid4().hex}"
            url = f"sqlite:///{folder}/onward.db"
            if server_url:
                with psycopg.connect(server_url, autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {name}")
                url = f"{server_url.rsplit('/', 1)[0]}/{name}"
            (Path(folder) / "settings.toml").write_text(
                f'[handlers]\nmodules = ["onward.testing.workload"]\n[database]\nurl = "{url}"\n'
            )
            command = [sys.executable, "-m", "tests.system.batch_scale", "--in", folder, str(size)]
            results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            if server_url:
                with psycopg.connect(server_url, autocommit=True) as connection:
                    connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    ten, many = results
    for name in ten:
        ratio = many[name] / max(ten[name], 1e-9)
        sys.stdout.write(f"{name:16} {ten[name]:12,.2f} {many[name]:12,.2f}  x {ratio:.2f}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        sys.stdout.write(json.dumps(asyncio.run(measure(Path(sys.argv[2]), int(sys.argv[3])))))
    else:
        run(sys.argv[1] if len(sys.argv) > 1 else None)
