"""`onward schedules`, in the test's process: what is printed, and the exit codes."""

from __future__ import annotations

import getpass
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward.cli import schedules
from onward.cli.main import program
from onward.cli.terminal import writer_of
from onward.config.settings import Settings, load
from onward.jobs import ledger
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.runtime.database import database_of
from onward.storage.tables import schedules as table
from tests import application

LEAP = {"handler": "steps.process_item", "cron": "0 7 29 2 *", "params": {"item": "a leap day"}}
RULE: Any = {
    "cron": "30 2 * * *",
    "time_zone": "Europe/Berlin",
    "overlap": ScheduleOverlap.SKIP,
    "missed": ScheduleMissed.RUN_ONCE,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    application.write(tmp_path)
    return load(tmp_path, schedule={"leap": LEAP})


def create(settings: Settings, *given: str, whole: str | None = None, **rule: Any) -> int:
    return schedules.create(settings, "nightly", "steps.process_item", given, whole=whole, **{**RULE, **rule})


def nameless(uid: int) -> Any:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def listed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert schedules.list_all(settings, as_json=True) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_schedule_is_made_listed_paused_resumed_and_deleted(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(settings, "--item", "x") == 0
    assert capsys.readouterr().out == "nightly made\n"
    leap, nightly = listed(settings, capsys)
    assert (leap["name"], leap["fromSettings"]) == ("leap", True)
    assert (nightly["overlap"], nightly["timeZone"], nightly["madeBy"]) == ("SKIP", "Europe/Berlin", getpass.getuser())
    assert len(nightly["upcoming"]) == 5
    assert schedules.pause(settings, ["nightly", "leap", "none"]) == 3
    said = capsys.readouterr()
    assert said.out == "nightly paused\nleap paused\n"
    assert said.err.startswith("none: There is no schedule of this name")
    assert [one["pausedBy"] for one in listed(settings, capsys)] == [getpass.getuser()] * 2
    assert schedules.list_all(settings, as_json=False) == 0
    assert f"paused by {getpass.getuser()}" in capsys.readouterr().out
    assert schedules.resume(settings, ["nightly"]) == 0
    assert listed(settings, capsys)[1] == nightly | {"nextAt": listed(settings, capsys)[1]["nextAt"]}
    assert schedules.delete(settings, ["nightly", "leap"]) == 1
    assert "[schedule.leap] in settings.toml" in capsys.readouterr().err
    assert [one["name"] for one in listed(settings, capsys)] == ["leap"]


def test_a_user_without_a_name_makes_schedules_and_pauses_them(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number stands for it: a container may run as any."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nameless)
    assert create(settings, "--item", "x") == 0
    assert schedules.pause(settings, ["nightly", "leap"]) == 0
    leap, nightly = listed(settings, capsys)
    assert {nightly["madeBy"], nightly["pausedBy"], leap["pausedBy"]} == {f"uid {os.getuid()}"}


def test_a_time_zone_is_spelt_as_in_the_settings_or_as_in_the_schema(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, option in enumerate(("--time-zone", "--timezone")):
        words = ["schedules", "create", f"n{n}", "steps.process_item", "--cron", "0 7 * * *", option, "Asia/Tokyo"]
        monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
        with pytest.raises(SystemExit) as ended:
            program()([*words, "--item", "x"])
        assert ended.value.code == 0, capsys.readouterr()
    assert [one["timeZone"] for one in listed(settings, capsys)] == ["UTC", "Asia/Tokyo", "Asia/Tokyo"]
    for key in ("timezone", "time_zone"):
        assert load(tmp_path, schedule={"leap": {**LEAP, key: "Asia/Tokyo"}}).schedule["leap"].timezone == "Asia/Tokyo"


def test_a_schedule_is_shown_with_its_next_times(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside them are the overlap, the last job and the tick that was skipped."""
    assert create(settings, "--item", "x") == 0
    (shown,) = (one for one in listed(settings, capsys) if one["name"] == "nightly")
    assert schedules.show(settings, "nightly", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == shown
    assert schedules.show(settings, "nightly", as_json=False) == 0
    first, rule, *times = capsys.readouterr().out.splitlines()
    assert first.startswith("nightly  steps.process_item  30 2 * * * Europe/Berlin  made at ")
    assert rule == "overlap SKIP, missed RUN_ONCE"
    assert times == [f"next {at}" for at in shown["upcoming"]]
    assert len(times) == 5
    ticked = {"last_at": 1_000_000, "last_job": "job_1", "skipped_at": 2_000_000, "problem": "no zone"}
    with writer_of(settings) as writer:
        writer.run_sync(lambda tx: tx.execute(sa.update(table).values(**ticked)))
    assert schedules.show(settings, "nightly", as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "last 1970-01-01T00:00:01Z job_1" in lines
    assert "skipped 1970-01-01T00:00:02Z, because the last job was not over" in lines
    assert "problem: no zone" in lines
    assert schedules.show(settings, "leap", as_json=False) == 0
    assert "no next time yet" in capsys.readouterr().out
    assert schedules.pause(settings, ["leap"]) == 0
    assert schedules.show(settings, "leap", as_json=False) == 0
    assert f" by {getpass.getuser()}\n" in capsys.readouterr().out
    assert schedules.show(settings, "none", as_json=False) == 3


def test_a_run_leaves_a_job_in_the_ledger(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert schedules.run(settings, "leap") == 0
    job_id = capsys.readouterr().out.strip()
    database = database_of(settings)
    try:
        job = database.read_sync(lambda tx: ledger.get(tx, job_id))
    finally:
        database.close()
    assert job is not None
    assert (job.handler, job.params["item"], job.run_at) == ("steps.process_item", "a leap day", None)
    assert schedules.run(settings, "none") == 3


@pytest.mark.parametrize(
    ("given", "changes", "words"),
    [
        (("--item", "x"), {"cron": "often"}, "'often' is no cron expression"),
        (("--item", "x"), {"time_zone": "Mars"}, "'Mars' is no time zone"),
        ((), {}, "steps.process_item: item"),
        ((), {"whole": '{"item": 1}'}, "steps.process_item: item"),
    ],
)
def test_a_wrong_schedule_is_refused_in_one_line(
    settings: Settings, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], changes: dict[str, Any], words: str
) -> None:
    assert create(settings, *given, **changes) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert schedules.create(settings, "n", "none", (), whole=None, **RULE) == 3
