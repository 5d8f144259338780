"""The waiting jobs of each handler, and the limits, for admins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onward.graphql import counts
from tests.integration.graphql.conftest import running, settings_in, until
from tests.integration.graphql.test_pauses import HANDLER, PAUSE, PROCESS
from tests.integration.graphql.test_viewers import ask, behind_tokens, header, process

QUERY = """{ system {
  waiting { handler backend queue depth oldestAt blocked }
  limits { handler key concurrency starts periodSeconds }
} }"""


async def test_waiting_jobs_are_counted_by_handler(tmp_path: Path) -> None:
    """A handler without any is left out."""
    queues = {HANDLER: {"concurrency": 3, "rate": "100/m", "queue": "slow"}}
    async with running(settings_in(tmp_path, queues=queues, worker={"queues": "default"})) as api:
        assert (await api.data(QUERY))["system"]["waiting"] == []
        job = (await api.data(PROCESS))["processItem"]["job"]["id"]

        async def counted() -> Any:
            return (await api.data(QUERY))["system"]["waiting"]

        (found,) = await until(counted)
        job = (await api.data("query($id: ID!) { job(id: $id) { createdAt } }", id=job))["job"]
        assert found.pop("oldestAt") == job["createdAt"]
        expected = {"handler": HANDLER, "backend": "background", "queue": "slow"}
        assert found == expected | {"depth": 1, "blocked": 0}


async def test_a_backlog_that_takes_long_to_count_is_counted_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count takes at most a twentieth of the time, however many jobs are queued and whoever asks how often."""
    now, counted = [100.0], []

    class Slow:
        async def read(self, _function: Any) -> list[Any]:
            counted.append(now[0])
            now[0] += 2
            return []

    monkeypatch.setattr(counts, "time", SimpleNamespace(monotonic=lambda: now[0]))
    kept = counts.Counts(Slow())  # type: ignore[arg-type]
    while now[0] < 180:
        await kept.backlog()
        now[0] += 1
    assert counted == [100.0, 143.0]


async def test_jobs_that_a_pause_holds_back_are_counted_apart(tmp_path: Path, ledger_url: str) -> None:
    async with running(settings_in(tmp_path, database={"url": ledger_url})) as api:
        await api.data(PAUSE, h=HANDLER)
        await api.data(PROCESS)

        async def blocked() -> Any:
            return [one for one in (await api.data(QUERY))["system"]["waiting"] if one["blocked"]]

        (found,) = await until(blocked)
        assert (found["depth"], found["oldestAt"], found["blocked"]) == (0, None, 1)


async def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    queues = {HANDLER: {"concurrency": 3, "rate": "100/m"}, "email.*": {"concurrency": 1}}
    async with running(settings_in(tmp_path, queues=queues)) as api:
        mail, steps = (await api.data(QUERY))["system"]["limits"]
    assert mail == {"handler": "email.welcome", "key": None, "concurrency": 1, "starts": None, "periodSeconds": None}
    assert steps == {"handler": HANDLER, "key": None, "concurrency": 3, "starts": 100, "periodSeconds": 60}


async def test_only_admins_see_them(tmp_path: Path) -> None:
    async with behind_tokens(tmp_path) as api:
        await ask(api, header("root", "admin"), PAUSE, h=HANDLER)
        await process(api, header("ada"))

        async def counted() -> Any:
            return (await ask(api, header("root", "admin"), QUERY))["data"]["system"]["waiting"]

        assert [one["handler"] for one in await until(counted)] == [HANDLER]
        for who in (header("ada"), {}):
            assert (await ask(api, who, QUERY))["data"]["system"] == {"waiting": [], "limits": []}
