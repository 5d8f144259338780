"""Samples of a running installation: each process, Redis, the ledger."""

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from tests.system.soak.audit import Audit

MB = 1024 * 1024
POSTGRESQL = """SELECT
    (SELECT count(*) FROM _ledger.jobs),
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()),
    (SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE relname <> 'soak_audit')"""


class Series:
    """Values of each quantity, with the seconds since the start."""

    def __init__(self) -> None:
        self.values: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def add(self, at_s: float, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.values[name].append((at_s, value))


def family(pid: int) -> list[int]:
    """Return the process and all its descendants, parents first."""
    found = [pid]
    for parent in found:
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, thread.read_text().split())
    return found


def sample_process(pid: int) -> dict[str, float]:
    """Return resident megabytes, open descriptors and threads. Raises OSError once the process has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {
        "resident, MB": int(fields["VmRSS"].split()[0]) / 1024,
        "descriptors": float(len(list(Path(f"/proc/{pid}/fd").iterdir()))),
        "threads": float(fields["Threads"]),
    }


def sample_redis(url: str) -> dict[str, float]:
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        info: Any = client.info()
        keys: Any = client.dbsize()
        return {
            "keys": float(keys),
            "memory, MB": info["used_memory"] / MB,
            "connections": float(info["connected_clients"]),
        }


def sample_ledger(audit: Audit) -> dict[str, float]:
    file = audit.database.path
    if file is None:
        [(rows, connections, size)] = audit.rows(POSTGRESQL)
        return {"rows": float(rows), "connections": float(connections), "size, MB": float(size) / MB}
    [(rows,)] = audit.rows("SELECT count(*) FROM _ledger.jobs")
    sizes = [found.stat().st_size for end in ("", "-wal") if (found := Path(f"{file}{end}")).exists()]
    return {"rows": float(rows), "size, MB": sum(sizes) / MB}
