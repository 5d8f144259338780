"""A project folder that an installed Onward serves."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import WAIT_TIMEOUT_S, Running
from tests.system.package.environments import Environment


@contextmanager
def serving(environment: Environment, project: Path, *command: str, **variables: str) -> Iterator[Running]:
    """Run `onward serve`, or another command, as a user types it in that folder."""
    words = command or ("serve", "--port", "0")
    log = project / f"{words[0]}-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment.folder / "bin" / "onward", *words],
            env=environment.variables(variables),
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Running(process, log)
    finally:
        process.terminate()
        try:
            process.wait(WAIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
