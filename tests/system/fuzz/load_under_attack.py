"""Measures a friendly query's time under hostile requests of each kind, from 1 and from 50 connections.

`python -m tests.system.fuzz.load_under_attack [SECONDS [KIND]]`, on Linux, against a server of its own. Prints the
table of docs/reliability.md, and exits with 1 if an answer is wrong or a friendly request was slow. KIND is a part of
the names of the attacks that are measured.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import quantiles

import httpx2

from tests import application
from tests.processes import ROOT, Running, environment, running
from tests.system.fuzz.hostile import KINDS, PROCESS, SECRET, token

SECONDS, AT_ONCE = 4.0, (1, 50)
PAUSE_S = 0.01
JOBS = 400  # of the attacker, in the ledger before the measurement, each with three steps and their results
BAR_MS = (250, 1000)  # at the 95th percentile and at worst, on a quiet machine
FRIENDLY = {"query": "{ viewer { id } jobs(first: 5) { nodes { id } } }"}
SETTINGS = f"""
environment = "production"
[auth]
mode = "jwt"
jwt = {{ secret = "{SECRET}" }}
[gql.limits]
requests = 0  # 0 for no limit, so that each kind meets its own check
"""


@dataclass(frozen=True)
class Outcome:
    """Answers to hostile requests, times of friendly ones meanwhile, and the server's cost of a hostile one."""

    answers: Counter[int]
    friendly_s: list[float]
    processor_s: float

    def friendly_ms(self) -> tuple[float, float, float]:
        """Return the median, the 95th percentile and the maximum."""
        cuts = (
            quantiles(self.friendly_s, n=20, method="inclusive") if len(self.friendly_s) > 1 else self.friendly_s * 19
        )
        return cuts[9] * 1000, cuts[18] * 1000, max(self.friendly_s) * 1000

    def __str__(self) -> str:
        middle, high, longest = self.friendly_ms()
        return f"{middle:.1f} | {high:.1f} | {longest:.0f} | {self.processor_s * 1000:.2f}"


@contextmanager
def server_under_attack(folder: Path) -> Iterator[Running]:
    """A server in production settings, without the limit of requests a minute."""
    application.write(folder, SETTINGS)
    with running("serve", "--port", "0", project=folder) as server:
        yield server


def fill(server: Running, count: int) -> None:
    """Create jobs of the attacker and wait until they are done."""
    body = {"query": f"mutation {{ {PROCESS.replace('#', '')} }}"}
    with httpx2.Client(timeout=60, headers={"authorization": f"Bearer {token()}"}) as http:
        for _ in range(count):
            assert http.post(f"{server.serving()}/graphql", json=body).json()["data"]["a"]["errors"] == []
        unfinished = {"query": "{ jobs(first: 1, filter: {status: [QUEUED, RUNNING]}) { nodes { id } } }"}
        while http.post(f"{server.serving()}/graphql", json=unfinished).json()["data"]["jobs"]["nodes"]:
            time.sleep(PAUSE_S)


async def storm(address: str, kind: str, numbers: Iterable[int], at_once: int) -> Counter[int]:
    """Send a request of the kind for each number, `at_once` of them at any time."""
    answers: Counter[int] = Counter()
    numbers = iter(numbers)

    async def attack() -> None:
        for number in numbers:
            answers[await KINDS[kind].attack(address, number)] += 1

    await asyncio.gather(*(attack() for _ in range(at_once)))
    return answers


def numbers_for(seconds: float) -> Iterator[int]:
    """Return numbers that no earlier run has used, until the time is over."""
    end = time.monotonic() + seconds
    for number in count(time.time_ns() % 10**12 * 1000):
        if time.monotonic() > end:
            return
        yield number


def measure_under_attack(server: Running, kind: str, seconds: float, at_once: int) -> Outcome:
    """Measure friendly requests while another process attacks, so that neither client waits for the other."""
    address = server.serving().removeprefix("http://")
    before = processor_s(server)
    command = [sys.executable, "-m", "tests.system.fuzz.load_under_attack", address, kind, str(seconds), str(at_once)]
    friendly: list[float] = []
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as attackers:
        with httpx2.Client(timeout=60, headers={"authorization": f"Bearer {token('friend')}"}) as http:
            while attackers.poll() is None or not friendly:
                friendly.append(_asked(http, address))
                time.sleep(PAUSE_S)
        written = attackers.communicate()[0]
    assert attackers.returncode == 0
    answers = Counter({int(code): number for code, number in json.loads(written).items()})
    return Outcome(answers, friendly, (processor_s(server) - before) / answers.total())


def idle(server: Running, times: int = 100) -> Outcome:
    """Measure friendly requests alone."""
    address, before = server.serving().removeprefix("http://"), processor_s(server)
    with httpx2.Client(timeout=60, headers={"authorization": f"Bearer {token('friend')}"}) as http:
        friendly = [_asked(http, address) for _ in range(times)]
    return Outcome(Counter({200: times}), friendly, (processor_s(server) - before) / times)


def _asked(http: httpx2.Client, address: str) -> float:
    started = time.perf_counter()
    response = http.post(f"http://{address}/graphql", json=FRIENDLY)
    assert response.json() == {"data": {"viewer": {"id": "friend"}, "jobs": {"nodes": []}}}, response.text
    return time.perf_counter() - started


def processor_s(server: Running) -> float:
    """Return the server's processor time in seconds (Linux: the clock of another process, by its id)."""
    return time.clock_gettime(~server.process.pid << 3 | 2)


def main(seconds: float, part: str) -> int:
    """Print the table; return 0 if every hostile request got an allowed answer, and no friendly one was slow."""
    wrong, slow = [], []
    with tempfile.TemporaryDirectory() as folder, server_under_attack(Path(folder)) as server:
        fill(server, JOBS)
        print("| attack | connections | p50, ms | p95, ms | worst, ms | processor of each, ms | answers |")  # noqa: T201
        print("|---|---|---|---|---|---|---|")  # noqa: T201
        print(f"| none | 0 | {idle(server)} | |", flush=True)  # noqa: T201
        for name, kind in KINDS.items():
            for at_once in AT_ONCE if part in name else ():
                outcome = measure_under_attack(server, name, seconds, at_once)
                answers = ", ".join(f"{code or 'cut'}: {number}" for code, number in sorted(outcome.answers.items()))
                print(f"| {name} | {at_once} | {outcome} | {answers} |", flush=True)  # noqa: T201
                wrong += [f"{name}: {answer}" for answer in outcome.answers.keys() - kind.answers]
                _, high, longest = outcome.friendly_ms()
                slow += [name] if high > BAR_MS[0] or longest > BAR_MS[1] else []
        wrong += ["the log has a traceback"] if "Traceback" in server.output() else []
    print(f"wrong: {wrong}\nslower than {BAR_MS} ms: {slow}")  # noqa: T201
    return 1 if wrong or slow else 0


if __name__ == "__main__":
    if len(sys.argv) == 5:
        address, kind, seconds, at_once = sys.argv[1:]
        print(json.dumps(asyncio.run(storm(address, kind, numbers_for(float(seconds)), int(at_once)))))  # noqa: T201
    else:
        sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS, "".join(sys.argv[2:3])))
