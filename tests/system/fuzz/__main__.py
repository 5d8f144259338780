"""The long run: `python -m tests.system.fuzz CASES [SEED]`. Starts a server of its own and prints its findings."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests import application
from tests.processes import running
from tests.system.fuzz.attack import attack
from tests.system.fuzz.test_fuzz import resident_kb


def main(cases: int, seed: int) -> int:
    """Run the cases; return 0 if nothing was wrong and memory stayed flat after the first fifth."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        application.write(project)
        with running("serve", "--port", "0", project=project) as server:
            address = server.serving().removeprefix("http://")
            started = time.monotonic()
            wrong: list[str] = []
            sizes = []
            for part in range(5):
                outcome = asyncio.run(attack(address, cases // 5, seed=seed + part))
                wrong += outcome.wrong
                sizes.append(resident_kb(server.process.pid))
                print(f"{outcome.cases} cases: {dict(outcome.statuses)} {dict(outcome.codes)}")  # noqa: T201
                print(f"  friendly at most {outcome.slowest_friendly_s:.3f} s, {sizes[-1]} kB")  # noqa: T201
            up = server.process.poll() is None
    for line in wrong[:20]:
        print(f"wrong: {line}")  # noqa: T201
    print(f"{len(wrong)} wrong, server up: {up}, {sizes} kB, {time.monotonic() - started:.0f} s, seed {seed}")  # noqa: T201
    return 0 if not wrong and up and sizes[-1] < sizes[0] * 1.2 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())))
