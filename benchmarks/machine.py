"""The machine of a measurement."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pysqlite3.dbapi2 as sqlite

from benchmarks import load


def described() -> dict[str, str | int | float]:
    """Describe the machine, its programs, and its other load at this moment."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite.sqlite_version,
        "redis": _version("redis-server"),
        "load_from": load.program(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        return "packaged valkey"
    run = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return " ".join(run.stdout.split()[2:3]).removeprefix("v=")
