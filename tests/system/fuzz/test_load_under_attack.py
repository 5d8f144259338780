"""The short run of `python -m tests.system.fuzz.load_under_attack`."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from tests.processes import Running
from tests.system.fuzz import load_under_attack
from tests.system.fuzz.hostile import KINDS, token
from tests.system.fuzz.load_under_attack import FRIENDLY, Outcome, idle, processor_s, server_under_attack, storm

COUNT = 16
DEAREST = 400  # friendly requests that a refused one may cost; a document that is read to be refused costs some dozens


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with server_under_attack(Path(tmp_path_factory.mktemp("onward"))) as server:
        yield server


@pytest.fixture(scope="module")
def friendly_s(server: Running) -> float:
    """Return the server's cost of a friendly request."""
    return idle(server).processor_s


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
async def test_hostile_requests_are_refused_and_friendly_ones_are_answered(
    server: Running, friendly_s: float, kind: str
) -> None:
    address = server.serving().removeprefix("http://")
    before = processor_s(server)
    attacking = asyncio.create_task(storm(address, kind, range(COUNT), COUNT))
    asked = 0
    async with httpx2.AsyncClient(timeout=60, headers={"authorization": f"Bearer {token('friend')}"}) as http:
        while not attacking.done() or not asked:
            response = await http.post(f"http://{address}/graphql", json=FRIENDLY)
            assert response.json()["data"]["viewer"] == {"id": "friend"}
            asked += 1
            await asyncio.sleep(0.01)
    answers = await attacking
    assert answers.total() == COUNT
    assert answers.keys() <= KINDS[kind].answers, answers
    each = (processor_s(server) - before - asked * friendly_s) / COUNT
    assert KINDS[kind].dear or each < DEAREST * friendly_s
    assert "Traceback" not in server.output()


@pytest.mark.parametrize(("worst_s", "code"), [(0.01, 0), (1.1, 1)])
def test_the_long_run_fails_where_a_friendly_request_was_slow(
    worst_s: float, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(_server: Running, name: str, _seconds: float, _at_once: int) -> Outcome:
        return Outcome(Counter(KINDS[name].answers), [0.01] * 99 + [worst_s], 0.0)

    nobody = nullcontext(SimpleNamespace(output=str))
    monkeypatch.setattr(load_under_attack, "server_under_attack", lambda _: nobody)
    monkeypatch.setattr(load_under_attack, "fill", lambda *_: None)
    monkeypatch.setattr(load_under_attack, "idle", lambda server: measured(server, next(iter(KINDS)), 0, 0))
    monkeypatch.setattr(load_under_attack, "measure_under_attack", measured)
    assert load_under_attack.main(0.0, "") == code
