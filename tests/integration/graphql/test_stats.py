"""The history in the schema: its figures are those of the jobs, for admins alone, and within bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from onward.cli import stats as terminal
from onward.cli.times import time_of
from onward.jobs import stats
from onward.jobs.history_rows import COUNTS
from onward.jobs.stats_step import StatsStep
from onward.runtime.database import database_of
from onward.storage import migrate
from tests.integration.graphql.conftest import Api, running, settings_in
from tests.integration.graphql.test_viewers import ask, header, jwt_settings, process
from tests.integration.jobs.test_history import fail
from tests.ledgers import writing

NONE = dict.fromkeys(COUNTS, 0)

FIELDS = "handler from to enqueued started succeeded failed cancelled retried wait { p50 p95 p99 } run { p50 p95 p99 }"
STATS = (
    "query($from: DateTime!, $to: DateTime!, $handler: [String!], $step: StatsStep! = TOTAL)"
    f" {{ stats(from: $from, to: $to, handler: $handler, step: $step) {{ {FIELDS} }} }}"
)
TOGETHER = STATS.replace("step: $step)", "step: $step, together: true)")
FAILURES = (
    "query($from: DateTime!, $to: DateTime!, $handler: [String!], $parts: Int! = 1) { failures(from: $from, to: $to,"
    " handler: $handler, parts: $parts) { handler code message count firstAt lastAt trend } }"
)
PROCESS = "mutation($item: String!) { processItem(input: {item: $item}) { job { id } } }"
HOUR = timedelta(hours=1)


def span(begin: timedelta = HOUR, end: timedelta = -HOUR) -> dict[str, str]:
    """Return a time around now, by the ages of its begin and end."""
    now = datetime.now(UTC)
    return {"from": (now - begin).isoformat(), "to": (now - end).isoformat()}


def printed(capsys: pytest.CaptureFixture[str], show: Callable[..., int], *given: Any) -> list[Any]:
    capsys.readouterr()
    assert show(*given, as_json=True) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_the_figures_are_those_of_the_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the schema and in the terminal, for each step."""
    settings = settings_in(tmp_path)
    async with running(settings) as api:
        for item in ("one", "two"):
            job = (await api.data(PROCESS, item=item))["processItem"]["job"]
            assert await api.ends(job["id"]) == "SUCCEEDED"
        for step in StatsStep:
            found = (await api.data(STATS, **span(), step=step.value))["stats"]
            assert {one["handler"] for one in found} == {"steps.process_item"}
            counts = [sum(one[name] for one in found) for name in COUNTS]  # a minute may have ended meanwhile
            assert dict(zip(COUNTS, counts, strict=True)) == {**NONE, "enqueued": 2, "started": 2, "succeeded": 2}
            assert 0 < found[-1]["run"]["p50"] <= found[-1]["run"]["p95"] <= found[-1]["run"]["p99"]
            assert all(one["from"] < one["to"] for one in found)
            lines = printed(capsys, terminal.show, settings, "1h", "0m", (), step)
            names = ("handler", *COUNTS, "wait", "run")
            assert [[line[name] for name in names] for line in lines] == [
                [one[name] for name in names] for one in found
            ]
            whole = (await api.data(TOGETHER, **span(), step=step.value))["stats"]
            assert {one["handler"] for one in whole} == {"*"}
            assert sum(one["succeeded"] for one in whole) == 2
        assert (await api.data(STATS, **span(), handler=["email.*"]))["stats"] == []
        assert (await api.data(FAILURES, **span()))["failures"] == []
        assert terminal.show(settings, "1h", "0m", (), StatsStep.TOTAL, as_json=False) == 0
        assert "steps.process_item" in capsys.readouterr().out


async def test_a_time_may_last_until_the_end_of_all_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last minute ends in the year 10000, which no datetime has."""
    settings, last = settings_in(tmp_path), "9999-12-31T23:59:59+00:00"
    async with running(settings) as api:
        job = (await api.data(PROCESS, item="one"))["processItem"]["job"]
        assert await api.ends(job["id"]) == "SUCCEEDED"
        (found,) = (await api.data(STATS, **{**span(), "to": last}))["stats"]
        (line,) = printed(capsys, terminal.show, settings, "1h", last, (), StatsStep.TOTAL)
        assert found["succeeded"] == line["succeeded"] == 1


async def test_failures_are_shown_by_their_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as api:
        with writing(settings.database.url) as writer:
            for _ in range(3):
                fail(writer, "no answer", code="BUSY")
                await asyncio.sleep(0.002)  # SQLite's clock counts milliseconds
            fail(writer, "no paper", handler="conformance.other")
        many, few = (await api.data(FAILURES, **span()))["failures"]
        assert (many["handler"], many["code"], many["message"], many["count"]) == (
            "conformance.job",
            "BUSY",
            "no answer",
            3,
        )
        assert many["firstAt"] < many["lastAt"] < few["firstAt"] == few["lastAt"]
        assert (many["trend"], few["trend"]) == ([3], [1])
        for found in (await api.data(FAILURES, **span(), parts=2))["failures"]:
            assert (len(found["trend"]), sum(found["trend"])) == (2, found["count"])
        assert (await api.data(FAILURES, **span(), handler=["conformance.other"]))["failures"] == [few]
        lines = printed(capsys, terminal.show_failures, settings, "1h", "0m", ["conformance.job"])
        assert [line["count"] for line in lines] == [3]
        assert terminal.show_failures(settings, "1h", "0m", (), as_json=False) == 0
        assert "no paper" in capsys.readouterr().out


async def test_only_admins_see_figures_of_all_jobs(tmp_path: Path) -> None:
    """Others get no row, as everywhere."""
    settings = jwt_settings(tmp_path)
    async with running(settings) as api:
        await process(api, header("ada"))
        with writing(settings.database.url) as writer:
            fail(writer, "no answer")
        for query, field in ((STATS, "stats"), (FAILURES, "failures")):
            for who in (header("ada"), {}):
                assert await ask(api, who, query, **span()) == {"data": {field: []}}
        admin = header("root", "admin")
        assert len((await ask(api, admin, STATS, **span()))["data"]["stats"]) == 2
        assert len((await ask(api, admin, FAILURES, **span()))["data"]["failures"]) == 1


async def test_a_time_or_a_handler_that_cannot_be_asked_for_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a code, and words that say what to ask for."""
    days = timedelta(days=1)
    for variables, code, says in (
        (span(-HOUR, HOUR), "INVALID", "`to` must be later than `from`."),
        ({**span(2 * days), "step": "MINUTE"}, "INVALID", "kept for 24 hours"),
        (span(500 * days), "INVALID", "kept for 400 days"),
        ({**span(), "handler": ["x"] * 21}, "INVALID", "at most 20 handlers"),
        ({**span(), "handler": [""]}, "INVALID", "1 to 200 characters"),
    ):
        (error,) = await api.errors(STATS, **variables)
        assert (error["extensions"]["code"], error["path"]) == (code, ["stats"])
        assert says in error["message"]
    wrong: list[dict[str, Any]] = [span(36 * days), {**span(), "parts": 0}, {**span(), "parts": 51}]
    for each in wrong:
        (error,) = await api.errors(FAILURES, **each)
        assert error["extensions"]["code"] == "INVALID"
    monkeypatch.setattr(stats, "ROWS", -1)
    (error,) = await api.errors(STATS, **span())
    assert error["extensions"]["code"] == "ANSWER_TOO_LARGE"


def test_a_time_in_the_terminal_is_an_age_or_has_a_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_in(tmp_path)
    assert time_of("90m", 10**16) == 10**16 - 90 * 60_000_000
    assert time_of("1970-01-01T01:00:01+01:00", 0) == 1_000_000
    for text in ("yesterday", "2030-01-31T09:00:00", "5s"):
        with pytest.raises(ValueError, match="must have its zone"):
            time_of(text, 0)
    for text in ("999999d", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(ValueError, match="in the years 1 to 9999"):
            time_of(text, 0)
    migrate.upgrade(database := database_of(settings))
    database.close()
    assert terminal.show(settings, "0m", "1h", (), StatsStep.TOTAL, as_json=False) == 1
    assert "later than" in capsys.readouterr().err
