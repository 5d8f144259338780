"""The rivals' libraries: environments of their own, made from their locks once."""

from __future__ import annotations

import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

from benchmarks.base import ROOT, BenchError

NEW, OLDER, POSTGRES = "bench", "bench-older", "bench-postgres"
FOLDER = ROOT / "var" / "bench"


def program(environment: str, name: str) -> Path:
    """Return a program of an environment, which is made at the first use. Raises BenchError."""
    folder = FOLDER / environment
    lock = ROOT / f"requirements-{environment}.txt"
    stamp = folder / ".installed"
    fingerprint = sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != fingerprint:
        sys.stderr.write(f"onward: installing {lock.name} for the rivals; once, it may take a minute\n")
        venv.create(folder, clear=True, with_pip=True, symlinks=True)
        pip = [str(folder / "bin" / "python"), "-I", "-m", "pip", "install", "-qq", "--no-input"]
        command = [*pip, "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(lock)]
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
            raise BenchError(f"could not install {lock.name}; what pip says stands above")
        stamp.write_text(fingerprint)
    return folder / "bin" / name
