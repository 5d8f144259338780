"""Measures a friendly request's time under hostile ones, 2,000 of each kind.

`python -m tests.system.fuzz.load_under_attack [COUNT [AT_ONCE]]`, on Linux, against a server of its own.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx2

from tests import application
from tests.processes import ROOT, Running, environment, running
from tests.system.fuzz.hostile import KINDS, SECRET, token

COUNT, AT_ONCE = 2_000, 8
PAUSE_S = 0.01
FRIENDLY = {"query": "{ viewer { id } jobs(first: 5) { nodes { id } } }"}
SETTINGS = f"""
environment = "production"
[auth]
mode = "jwt"
jwt = {{ secret = "{SECRET}" }}
[gql.limits]
requests = 0  # each kind is to be answered by what is there for it, not because there were too many
"""


@dataclass(frozen=True)
class Outcome:
    """Answers to hostile requests, times of friendly ones meanwhile, and the server's cost of a hostile one."""

    answers: Counter[int]
    friendly_s: list[float]
    processor_s: float

    def __str__(self) -> str:
        slowest, typical = max(self.friendly_s) * 1000, median(self.friendly_s) * 1000
        return f"{typical:7.1f} {slowest:8.1f} {self.processor_s * 1000:9.2f}  {dict(self.answers)}"


@contextmanager
def server_under_attack(folder: Path) -> Iterator[Running]:
    """A server in production settings, whose only limit that is off is that of requests a minute."""
    application.write(folder, SETTINGS)
    with running("serve", "--port", "0", project=folder) as server:
        yield server


async def storm(address: str, kind: str, count: int, at_once: int) -> Counter[int]:
    """So many requests of the kind, `at_once` of them at any time."""
    answers: Counter[int] = Counter()
    numbers = iter(range(count))

    async def strike() -> None:
        for number in numbers:
            answers[await KINDS[kind].strike(address, number)] += 1

    await asyncio.gather(*(strike() for _ in range(at_once)))
    return answers


def measure_under_attack(server: Running, kind: str, count: int, at_once: int = AT_ONCE) -> Outcome:
    """The storm comes from a process of its own, so that it does not wait for the friend nor the friend for it."""
    address = server.serving().removeprefix("http://")
    before = processor_s(server)
    command = [sys.executable, "-m", "tests.system.fuzz.load_under_attack", address, kind, str(count), str(at_once)]
    friendly: list[float] = []
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as attackers:
        with httpx2.Client(timeout=60, headers={"authorization": f"Bearer {token('friend')}"}) as http:
            while attackers.poll() is None or not friendly:
                friendly.append(_asked(http, address))
                time.sleep(PAUSE_S)
        told = attackers.communicate()[0]
    assert attackers.returncode == 0
    answers = Counter({int(code): number for code, number in json.loads(told).items()})
    return Outcome(answers, friendly, (processor_s(server) - before) / count)


def idle(server: Running, count: int = 100) -> Outcome:
    """The friend alone."""
    address, before = server.serving().removeprefix("http://"), processor_s(server)
    with httpx2.Client(timeout=60, headers={"authorization": f"Bearer {token('friend')}"}) as http:
        friendly = [_asked(http, address) for _ in range(count)]
    return Outcome(Counter({200: count}), friendly, (processor_s(server) - before) / count)


def _asked(http: httpx2.Client, address: str) -> float:
    begun = time.perf_counter()
    response = http.post(f"http://{address}/graphql", json=FRIENDLY)
    assert response.json() == {"data": {"viewer": {"id": "friend"}, "jobs": {"nodes": []}}}, response.text
    return time.perf_counter() - begun


def processor_s(server: Running) -> float:
    """Seconds of processor time that the server has used (Linux: the clock of another process, by its id)."""
    return time.clock_gettime(~server.process.pid << 3 | 2)


def main(count: int, at_once: int) -> int:
    """0 where every hostile request got what its kind may get."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder, server_under_attack(Path(folder)) as server:
        print(f"{count} of each kind, {at_once} at once\n{'':32} friendly, ms         hostile, ms of processor")  # noqa: T201
        print(f"{'':32}  median      max      each  answers")  # noqa: T201
        print(f"{'(none)':32} {idle(server)}", flush=True)  # noqa: T201
        for name, kind in KINDS.items():
            outcome = measure_under_attack(server, name, count, at_once)
            print(f"{name:32} {outcome}", flush=True)  # noqa: T201
            wrong += [f"{name}: {answer}" for answer in outcome.answers.keys() - kind.answers]
        wrong += ["the log has a traceback"] if "Traceback" in server.output() else []
    print(f"wrong: {wrong}")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) == 5:
        print(json.dumps(asyncio.run(storm(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))))  # noqa: T201
    else:
        sys.exit(main(*(int(given) for given in sys.argv[1:]), *(COUNT, AT_ONCE)[len(sys.argv) - 1 :]))
