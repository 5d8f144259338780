"""Schedules made at run time in the schema: the mutations, their roles and their errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.graphql.conftest import Api, running, settings_in, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header

FIELDS = """
    name handler cron timeZone overlap missed fromSettings madeAt madeBy nextAt upcoming pausedAt pausedBy lastAt
    lastJob { id status runAt } skippedAt problem
"""
SHOWN = f"{{ system {{ schedules {{ {FIELDS} }} }} }}"
LEAP = {
    "handler": "logging.write",
    "cron": "0 7 29 2 *",
    "overlap": "skip",
    "missed": "skip",
    "params": {"email": "ada@example.com", "message": "a leap day"},
}
NEW = {
    "name": "sums",
    "handler": "logging.write",
    "params": {"email": "a@example.com", "message": "m"},
    "cron": "0 7 1 1 *",
}


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("onward")
    async with running(settings_in(folder, schedule={"leap": LEAP})) as api:
        yield api


async def change(api: Api, name: str, /, **input: Any) -> Any:
    """Return the payload of a mutation of schedules."""
    type_ = "CreateScheduleInput" if name == "createSchedule" else "ScheduleNameInput"
    whole = f"schedule {{ {FIELDS} }} job {{ id handler runAt }} errors {{ code message path }}"
    query = f"mutation($input: {type_}!) {{ {name}(input: $input) {{ {whole} }} }}"
    return (await api.data(query, input=input))[name]


async def test_a_schedule_is_made_shown_paused_resumed_and_deleted(api: Api) -> None:
    made = (await change(api, "createSchedule", **NEW, timeZone="Asia/Kathmandu", overlap="CANCEL_LAST"))["schedule"]
    assert (made["name"], made["timeZone"], made["overlap"]) == ("sums", "Asia/Kathmandu", "CANCEL_LAST")
    assert (made["missed"], made["fromSettings"], made["lastJob"], made["problem"]) == ("RUN_ONCE", False, None, None)
    assert [at[4:] for at in made["upcoming"]] == ["-01-01T01:15:00.000000Z"] * 5
    assert made["upcoming"][0] == made["nextAt"]
    leap, sums = (await api.data(SHOWN))["system"]["schedules"]
    assert sums == made
    assert (leap["name"], leap["fromSettings"], leap["madeAt"]) == ("leap", True, None)
    assert (leap["overlap"], leap["missed"]) == ("SKIP", "SKIP")
    paused = (await change(api, "pauseSchedule", name="sums"))["schedule"]
    assert paused["pausedAt"] is not None
    assert (paused["nextAt"], paused["upcoming"]) == (None, [])
    assert (await change(api, "resumeSchedule", name="sums"))["schedule"] == made
    gone = await change(api, "deleteSchedule", name="sums")
    assert (gone["schedule"], gone["errors"]) == (made, [])
    assert [one["name"] for one in (await api.data(SHOWN))["system"]["schedules"]] == ["leap"]


async def test_a_schedule_runs_now_paused_or_not(api: Api) -> None:
    """The ticks stay as they are."""
    before = (await change(api, "pauseSchedule", name="leap"))["schedule"]
    payload = await change(api, "runSchedule", name="leap")
    assert payload["schedule"] == before
    assert payload["job"]["runAt"] is None
    assert await api.ends(payload["job"]["id"]) == "SUCCEEDED"
    await change(api, "resumeSchedule", name="leap")


async def test_another_process_s_schedule_makes_its_job_within_seconds(tmp_path: Path) -> None:
    """The first process leads, and the second one makes the schedule."""
    async with running(settings_in(tmp_path)), running(settings_in(tmp_path)) as second:
        await change(second, "createSchedule", **{**NEW, "cron": "* * * * * *"})

        async def made() -> Any:
            (one,) = (await second.data(SHOWN))["system"]["schedules"]
            return one if one["lastJob"] else None

        one = await until(made)
    assert one["lastJob"]["runAt"] == one["lastAt"] < one["nextAt"] == one["upcoming"][0]


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"name": "leap"}, "ALREADY_EXISTS", ["name"]),
        ({"name": "\u202e"}, "INVALID", ["name"]),
        ({"handler": "none"}, "INVALID", ["handler"]),
        ({"params": {"email": "no address", "message": "m"}}, "INVALID", ["params", "email"]),
        ({"params": {"email": "a@example.com"}}, "INVALID", ["params", "message"]),
        ({"params": ["a"]}, "INVALID", ["params"]),
        ({"params": "a"}, "INVALID", ["params"]),
        ({"params": None}, "INVALID", ["params", "email"]),
        ({"cron": "often"}, "INVALID", ["cron"]),
        ({"cron": "0 0 31 2 *"}, "INVALID", ["cron"]),
        ({"cron": "1," * 10_000}, "INVALID", ["cron"]),
        ({"timeZone": "Mars/Olympus"}, "INVALID", ["timeZone"]),
        ({"timeZone": "../" * 10_000}, "INVALID", ["timeZone"]),
    ],
)
async def test_a_wrong_schedule_is_refused_with_its_place(
    api: Api, changes: dict[str, Any], code: str, path: list[str]
) -> None:
    payload = await change(api, "createSchedule", **{**NEW, **changes})
    assert payload["schedule"] is None
    assert (payload["errors"][0]["code"], payload["errors"][0]["path"]) == (code, path)
    assert [one["name"] for one in (await api.data(SHOWN))["system"]["schedules"]] == ["leap"]


@pytest.mark.parametrize("name", ["pauseSchedule", "resumeSchedule", "runSchedule", "deleteSchedule"])
async def test_a_schedule_that_is_not_there_is_not_found(api: Api, name: str) -> None:
    payload = await change(api, name, name="none")
    assert [(error["code"], error["path"]) for error in payload["errors"]] == [("NOT_FOUND", ["name"])]


async def test_one_of_the_settings_is_not_deleted(api: Api) -> None:
    (error,) = (await change(api, "deleteSchedule", name="leap"))["errors"]
    assert (error["code"], error["path"]) == ("NOT_ALLOWED", ["name"])
    assert "[schedule.leap] in settings.toml" in error["message"]


@pytest.mark.parametrize("first", [-1, 201])
async def test_a_page_of_schedules_is_bounded(api: Api, first: int) -> None:
    query = "query($first: Int!) { system { schedules(first: $first) { name } } }"
    (error,) = await api.errors(query, first=first)
    assert error["message"] == f"`first` must be between 0 and 200 (got {first})."


async def test_only_admins_make_change_and_see_schedules(tmp_path: Path) -> None:
    create = "mutation($i: CreateScheduleInput!) { createSchedule(input: $i) { schedule { madeBy } errors { code } } }"
    named = (
        "mutation($i: ScheduleNameInput!) { pauseSchedule(input: $i) { errors { code } }"
        " resumeSchedule(input: $i) { errors { code } } runSchedule(input: $i) { job { id } errors { code } }"
        " deleteSchedule(input: $i) { schedule { name } errors { code } } }"
    )
    refused = {"errors": [{"code": "NOT_ALLOWED"}]}
    async with behind_tokens(tmp_path, schedule={"leap": LEAP}) as api:
        for who in ({}, header("ada"), header("ada", "staff")):
            assert (await ask(api, who, create, i=NEW))["data"] == {"createSchedule": {"schedule": None, **refused}}
            data = (await ask(api, who, named, i={"name": "leap"}))["data"]
            assert all(payload["errors"] == refused["errors"] for payload in data.values())
            assert data["runSchedule"]["job"] is data["deleteSchedule"]["schedule"] is None
            assert (await ask(api, who, SHOWN))["data"]["system"]["schedules"] == []
        root = header("root", "admin")
        made = (await ask(api, root, create, i=NEW))["data"]["createSchedule"]
        assert made == {"schedule": {"madeBy": "root"}, "errors": []}
        found = (await ask(api, root, SHOWN))["data"]["system"]["schedules"]
        assert [one["name"] for one in found] == ["leap", "sums"]
