"""The mutations: accepted and refused inputs, and effects."""

import asyncio
import importlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from onward.api import composition
from onward.graphql.execution import limits
from onward.jobs import bulk, commands
from onward.jobs.model import Job
from onward.storage.transaction import Tx
from tests.integration.graphql.conftest import Api, running, settings_in

retry_jobs = importlib.import_module("onward.graphql.mutations.retry_jobs")  # the package's name is the function
cancel_jobs = importlib.import_module("onward.graphql.mutations.cancel_jobs")
USER = "user { id username email createdAt } job { id handler status } replayed"


def codes(payload: Any) -> list[tuple[str, list[str] | None]]:
    return [(error["code"], error["path"]) for error in payload["errors"]]


async def test_registering_makes_a_user_and_a_job_that_writes_to_them(api: Api, name: str) -> None:
    payload = await api.mutate("registerUser", USER, username=name, email=f"{name}@example.com")
    assert payload["errors"] == []
    assert payload["user"]["username"] == name
    assert payload["user"]["id"].startswith("user_")
    assert payload["job"]["id"].startswith("job_")
    assert payload["job"]["handler"] == "email.welcome"
    assert await api.ends(payload["job"]["id"]) == "SUCCEEDED"
    mails = [path.read_text() for path in folder(api).glob("var/mail/*.eml")]
    assert any(f"{name}@example.com" in mail for mail in mails)


async def test_names_and_addresses_are_unique_regardless_of_case(api: Api, name: str) -> None:
    await api.mutate("registerUser", username=name, email=f"{name}@example.com")
    payload = await api.mutate("registerUser", USER, username=name.upper(), email=f"{name.upper()}@EXAMPLE.com")
    assert codes(payload) == [("ALREADY_EXISTS", ["username"]), ("ALREADY_EXISTS", ["email"])]
    assert payload["user"] is None
    assert payload["job"] is None


@pytest.mark.parametrize("other", ["\uff21\uff24\uff21", "a\uff44A", "\U0001d41a\U0001d41d\U0001d41a"])
async def test_a_name_in_another_width_or_font_is_the_same_name(api: Api, name: str, other: str) -> None:
    await api.mutate("registerUser", username=name, email=f"{name}@example.com")
    alike = name.replace("ada", other)
    payload = await api.mutate("registerUser", USER, username=alike, email=f"other-{name}@example.com")
    assert codes(payload) == [("ALREADY_EXISTS", ["username"])]


async def test_names_are_kept_in_composed_form(api: Api, name: str) -> None:
    payload = await api.mutate("registerUser", USER, username=f"{name}-Zoe\u0308", email=f"{name}@example.com")
    assert payload["user"]["username"] == f"{name}-Zo\u00eb"


@pytest.mark.parametrize(
    ("username", "email", "field"),
    [
        ("", "a@example.com", "username"),
        (" ", "a@example.com", "username"),
        (" ada", "a@example.com", "username"),
        ("a" * 65, "a@example.com", "username"),
        ("a\nb", "a@example.com", "username"),
        ("a\u202eb", "a@example.com", "username"),
        ("a\x00", "a@example.com", "username"),
        ("a\u200b", "a@example.com", "username"),
        ("ada", "", "email"),
        ("ada", "ada", "email"),
        ("ada", "a@b@example.com", "email"),
        ("ada", "a@example.com, b@example.com", "email"),
        ("ada", "Ada <a@example.com>", "email"),
        ("ada", "a@example.com\nBcc: b@example.com", "email"),
        ("ada", "a\x00@example.com", "email"),
        ("ada", "a" * 250 + "@example.com", "email"),
        ("ada", "a@localhost", "email"),
        ("ada", "x" * 50_000 + "@example.com", "email"),
    ],
)
async def test_a_malformed_name_or_address_is_invalid(api: Api, username: str, email: str, field: str) -> None:
    payload = await api.mutate("registerUser", USER, username=username, email=email)
    assert codes(payload) == [("INVALID", [field])]
    assert payload["user"] is None


async def test_all_errors_of_an_input_are_reported_together(api: Api) -> None:
    payload = await api.mutate("registerUser", username="", email="")
    assert codes(payload) == [("INVALID", ["username"]), ("INVALID", ["email"])]


async def test_a_notification_becomes_a_line_of_the_log(api: Api, name: str) -> None:
    payload = await api.mutate("sendNotification", email="ada@example.com", message=f"Hello\n{name}")
    assert await api.ends(payload["job"]["id"]) == "SUCCEEDED"
    lines = (folder(api) / "var/notifications.jsonl").read_text().splitlines()
    assert payload["job"]["id"] in next(line for line in lines if name in line)


@pytest.mark.parametrize("message", ["", " \n ", "x" * 10_001])
async def test_a_message_that_is_empty_or_too_long_is_invalid(api: Api, message: str) -> None:
    payload = await api.mutate("sendNotification", email="ada@example.com", message=message)
    assert codes(payload) == [("INVALID", ["message"])]


async def test_an_item_is_validated_analysed_and_stored(api: Api) -> None:
    payload = await api.mutate("processItem", item="one two\nthree")
    assert await api.ends(payload["job"]["id"]) == "SUCCEEDED"
    query = (
        "query($id: ID!) { job(id: $id) { result steps { name status } attempts { number charged error { code } } } }"
    )
    job = (await api.data(query, id=payload["job"]["id"]))["job"]
    assert job["result"]["characters"] == 13
    assert [(step["name"], step["status"]) for step in job["steps"]] == [
        ("validate", "SUCCEEDED"),
        ("analyse", "SUCCEEDED"),
        ("store", "SUCCEEDED"),
    ]
    assert job["attempts"] == [{"number": 1, "charged": True, "error": None}]


@pytest.mark.parametrize("item", ["", "   ", "\n\t", "x" * 10_001])
async def test_an_item_that_is_empty_or_too_long_is_invalid(api: Api, item: str) -> None:
    payload = await api.mutate("processItem", item=item)
    assert codes(payload) == [("INVALID", ["item"])]
    assert payload["job"] is None


async def test_an_item_of_ten_thousand_characters_is_accepted(api: Api) -> None:
    assert (await api.mutate("processItem", item="\U0001f600" * 10_000))["errors"] == []


async def test_an_item_with_control_characters_fails_with_its_reason(api: Api) -> None:
    payload = await api.mutate("processItem", item="a\x07b")
    assert await api.ends(payload["job"]["id"]) == "FAILED"
    query = "query($id: ID!) { job(id: $id) { error { code message retryable step } canRetry } }"
    job = (await api.data(query, id=payload["job"]["id"]))["job"]
    assert "control character" in job["error"]["message"]
    assert job["error"]["step"] == "validate"
    assert job["error"]["retryable"] is False
    assert job["canRetry"] is True


async def test_a_later_time_is_waited_for(api: Api) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    payload = await api.mutate("processItem", "job { id status runAt waitingFor }", item="x", runAt=later)
    assert payload["job"]["status"] == "SCHEDULED"
    assert datetime.fromisoformat(payload["job"]["runAt"]) == datetime.fromisoformat(later)
    assert "its time" in payload["job"]["waitingFor"]


async def test_a_time_in_the_past_means_now(api: Api) -> None:
    payload = await api.mutate("processItem", item="x", runAt="2020-01-01T00:00:00+02:00")
    assert payload["job"]["status"] == "QUEUED"
    assert await api.ends(payload["job"]["id"]) == "SUCCEEDED"


async def test_a_time_more_than_a_year_ahead_is_invalid(api: Api) -> None:
    payload = await api.mutate("processItem", item="x", runAt=(datetime.now(UTC) + timedelta(days=367)).isoformat())
    assert codes(payload) == [("INVALID", ["runAt"])]


@pytest.mark.parametrize(
    "moment",
    ["2030-01-01T00:00:00", "2030-01-01", "tomorrow", "", 5, "2030-13-01T00:00:00Z", "9999-12-31T23:59:59-14:00"],
)
async def test_a_malformed_time_or_one_without_a_zone_is_refused(api: Api, moment: Any) -> None:
    errors = await api.errors(
        'mutation($at: DateTime) { processItem(input: {item: "x", runAt: $at}) { replayed } }', at=moment
    )
    assert "time zone" in errors[0]["message"]


async def test_a_waiting_job_is_cancelled_at_once(api: Api) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    job = (await api.mutate("processItem", item="x", runAt=later))["job"]
    payload = await api.mutate("cancelJob", "job { id status version done }", id=job["id"], reason="not needed")
    assert payload["job"] == {"id": job["id"], "status": "CANCELLED", "version": 2, "done": True}
    assert payload["errors"] == []


async def test_cancelling_a_finished_job_is_a_conflict_that_shows_the_job(api: Api) -> None:
    job = (await api.mutate("processItem", item="x"))["job"]
    await api.ends(job["id"])
    payload = await api.mutate("cancelJob", "job { id status }", id=job["id"])
    assert codes(payload) == [("CONFLICT", ["id"])]
    assert payload["job"] == {"id": job["id"], "status": "SUCCEEDED"}


@pytest.mark.parametrize("mutation", ["cancelJob", "retryJob"])
@pytest.mark.parametrize("id_", ["job_0", "user_0", "", "x" * 5_000, "job_\x00", "job_" + "0" * 32])
async def test_an_unknown_job_is_not_found(api: Api, mutation: str, id_: str) -> None:
    payload = await api.mutate(mutation, "job { id }", id=id_)
    assert codes(payload) == [("NOT_FOUND", ["id"])]


async def test_a_reason_is_one_line(api: Api) -> None:
    payload = await api.mutate("cancelJob", "job { id }", id="job_0", reason="a\nb")
    assert codes(payload) == [("INVALID", ["reason"])]


async def test_a_failed_job_runs_again(api: Api) -> None:
    job = (await api.mutate("processItem", item="a\x07b"))["job"]
    await api.ends(job["id"])
    payload = await api.mutate("retryJob", "job { id status }", id=job["id"])
    assert payload == {"job": {"id": job["id"], "status": "QUEUED"}, "errors": []}
    assert await api.ends(job["id"]) == "FAILED"
    attempts = (await api.data("query($id: ID!) { job(id: $id) { attempts { number } } }", id=job["id"]))["job"][
        "attempts"
    ]
    assert [attempt["number"] for attempt in attempts] == [1, 2]


async def test_retrying_a_succeeded_job_is_a_conflict(api: Api) -> None:
    job = (await api.mutate("processItem", item="x"))["job"]
    await api.ends(job["id"])
    payload = await api.mutate("retryJob", "job { status }", id=job["id"], fromStart=True)
    assert codes(payload) == [("CONFLICT", ["id"])]
    assert payload["job"] == {"status": "SUCCEEDED"}


async def test_failed_jobs_run_again_in_bulk(api: Api) -> None:
    since = datetime.now(UTC).isoformat()
    jobs = [(await api.mutate("processItem", item="a\x07b"))["job"]["id"] for _ in range(3)]
    for job in jobs:
        await api.ends(job)
    wanted = {"status": ["FAILED"], "handler": ["steps.*"], "createdAfter": since}
    payload = await api.mutate("retryJobs", "count", filter=wanted, limit=2)
    assert payload == {"count": 2, "errors": []}


async def test_a_bulk_retry_is_many_short_transactions(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job is retried once, however soon it fails again."""
    since = datetime.now(UTC).isoformat()
    jobs = [(await api.mutate("processItem", item="a\x07b"))["job"]["id"] for _ in range(5)]
    for job in jobs:
        await api.ends(job)
    retry_each, batches = commands.retry_each, []

    def spied(tx: Tx, ids: Sequence[str], **further: Any) -> list[Job]:
        batches.append(list(ids))
        return retry_each(tx, ids, **further)

    monkeypatch.setattr(commands, "retry_each", spied)
    monkeypatch.setattr(bulk, "BATCH", 2)
    wanted = {"status": ["FAILED"], "handler": ["steps.*"], "createdAfter": since}
    payload = await api.mutate("retryJobs", "count", filter=wanted)
    assert payload == {"count": 5, "errors": []}
    assert batches == [jobs[:2], jobs[2:4], jobs[4:]]


async def test_a_bulk_retry_in_pieces_looks_at_each_job_once(api: Api) -> None:
    """The jobs of the piece before have failed again by then."""
    since = datetime.now(UTC).isoformat()
    await api.ends((await api.mutate("processItem", item="x"))["job"]["id"])
    jobs = [(await api.mutate("processItem", item="a\x07b"))["job"]["id"] for _ in range(5)]
    for job in jobs:
        await api.ends(job)
    wanted = {"status": ["FAILED"], "handler": ["steps.*"], "createdAfter": since}
    counts, after = [], None
    while True:
        payload = await api.mutate("retryJobs", "count endCursor", filter=wanted, limit=2, after=after)
        counts.append(payload["count"])
        for job in jobs:
            await api.ends(job)
        if (after := payload["endCursor"]) is None:
            break
    assert counts == [2, 2, 1]
    assert codes(await api.mutate("retryJobs", "count", filter=wanted, after="nowhere")) == [("INVALID", ["after"])]


async def test_a_bulk_cancel_goes_on_behind_jobs_that_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """All jobs of the first piece are over by the time that it changes them."""
    far, before = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (80, 70))
    jobs = [(await api.mutate("processItem", item="x", runAt=far))["job"]["id"] for _ in range(4)]
    cancel_each = commands.cancel_each

    def late(tx: Tx, ids: Sequence[str], **further: Any) -> list[Job]:
        return cancel_each(tx, [one for one in ids if one not in jobs[:2]], **further)

    monkeypatch.setattr(commands, "cancel_each", late)
    wanted = {"runAfter": before}
    refused = await api.mutate("cancelJobs", "count endCursor", filter=wanted, limit=2)
    assert refused["count"] == 0
    rest = await api.mutate("cancelJobs", "count endCursor", filter=wanted, after=refused["endCursor"])
    assert rest == {"count": 2, "endCursor": None, "errors": []}
    monkeypatch.undo()
    assert (await api.mutate("cancelJobs", "count", filter=wanted))["count"] == 2


async def test_scheduled_jobs_are_cancelled_by_the_time_of_their_start(api: Api) -> None:
    now = datetime.now(UTC)
    times = [(now + timedelta(days=days)).isoformat() for days in (10, 20, 30)]
    jobs = [(await api.mutate("processItem", item="x", runAt=time))["job"]["id"] for time in times]
    within = {"runAfter": (now + timedelta(days=15)).isoformat(), "runBefore": (now + timedelta(days=25)).isoformat()}
    assert (await api.data("query($f: JobFilter!) { jobCount(filter: $f) }", f=within))["jobCount"] == 1
    assert (await api.mutate("cancelJobs", "count", filter=within))["count"] == 1
    assert await api.ends(jobs[1]) == "CANCELLED"
    assert (await api.mutate("cancelJobs", "count", filter={"runAfter": times[0]}))["count"] == 1
    assert await api.ends(jobs[2]) == "CANCELLED"
    assert (await api.mutate("cancelJobs", "count", filter={"runAfter": (now + timedelta(days=9)).isoformat()}))[
        "count"
    ] == 1


@pytest.mark.parametrize("what", ["created", "finished", "run"])
async def test_a_time_that_ends_before_it_begins_is_refused(api: Api, what: str) -> None:
    later, sooner = "2030-02-01T00:00:00Z", "2030-01-01T00:00:00Z"
    payload = await api.mutate("cancelJobs", "count", filter={f"{what}After": later, f"{what}Before": sooner})
    assert codes(payload) == [("INVALID", ["filter"])]
    assert f"`{what}After` must be earlier than `{what}Before`" in payload["errors"][0]["message"]


async def test_a_bulk_retry_that_takes_too_long_counts_what_it_did(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    since = datetime.now(UTC).isoformat()
    monkeypatch.setattr(retry_jobs, "BULK_TIMEOUT_S", -1.0)
    payload = await api.mutate("retryJobs", "count", filter={"createdAfter": since})
    assert (payload["count"], codes(payload)) == (0, [("UNAVAILABLE", None)])


async def scheduled(api: Api) -> str:
    """Accept a job whose time is far."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return str((await api.mutate("processItem", item="x", runAt=tomorrow))["job"]["id"])


async def test_jobs_are_cancelled_in_bulk_oldest_first(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short transactions; what is over stays as it is, and a second time nothing is left."""
    since = datetime.now(UTC).isoformat()
    over = (await api.mutate("processItem", item="x"))["job"]["id"]
    assert await api.ends(over) == "SUCCEEDED"
    jobs = [await scheduled(api) for _ in range(5)]
    cancel_each, batches = commands.cancel_each, []

    def spied(tx: Tx, ids: Sequence[str], **further: Any) -> list[Job]:
        batches.append(list(ids))
        return cancel_each(tx, ids, **further)

    monkeypatch.setattr(commands, "cancel_each", spied)
    monkeypatch.setattr(bulk, "BATCH", 2)
    wanted = {"handler": ["steps.*"], "createdAfter": since}
    assert await api.mutate("cancelJobs", "count", filter=wanted, limit=3) == {"count": 3, "errors": []}
    assert batches == [jobs[:2], jobs[2:3]]
    assert await api.mutate("cancelJobs", "count", filter={**wanted, "status": ["SUCCEEDED", "SCHEDULED"]}) == {
        "count": 2,
        "errors": [],
    }
    assert await api.mutate("cancelJobs", "count", filter=wanted) == {"count": 0, "errors": []}
    assert [await api.ends(job) for job in (over, *jobs)] == ["SUCCEEDED", *["CANCELLED"] * 5]


async def test_a_bulk_cancel_counts_in_the_metrics(api: Api) -> None:
    since = datetime.now(UTC).isoformat()
    await asyncio.sleep(0.05)  # a commit that is open by now has an earlier time
    registry = api.app.state.onward.telemetry.metrics.registry
    labels = {"handler": "steps.process_item", "status": "CANCELLED"}
    before = registry.get_sample_value("onward_jobs_finished_total", labels)
    for _ in range(2):
        await scheduled(api)
    assert (await api.mutate("cancelJobs", "count", filter={"createdAfter": since}))["count"] == 2
    assert registry.get_sample_value("onward_jobs_finished_total", labels) == before + 2


async def test_a_bulk_cancel_that_takes_too_long_counts_what_it_did(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    since = datetime.now(UTC).isoformat()
    job = await scheduled(api)
    monkeypatch.setattr(cancel_jobs, "BULK_TIMEOUT_S", -1.0)
    payload = await api.mutate("cancelJobs", "count", filter={"createdAfter": since})
    assert (payload["count"], codes(payload)) == (0, [("UNAVAILABLE", None)])
    await api.mutate("cancelJob", "job { id }", id=job)


@pytest.mark.parametrize("name", ["retryJobs", "cancelJobs"])
@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_is_within_bounds(api: Api, name: str, limit: int) -> None:
    payload = await api.mutate(name, "count", filter={}, limit=limit)
    assert payload["count"] == 0
    assert codes(payload) == [("INVALID", ["limit"])]


@pytest.mark.parametrize("name", ["retryJobs", "cancelJobs"])
async def test_a_filter_is_within_bounds(api: Api, name: str) -> None:
    for handler in (["x"] * 21, ["x" * 201], [""], ["a\x00"]):
        payload = await api.mutate(name, "count", filter={"handler": handler})
        assert codes(payload) == [("INVALID", ["filter"])]


async def test_a_failed_mutation_hides_no_other_mutation_s_job(api: Api) -> None:
    data = await api.data(
        'mutation { a: processItem(input: {item: "x"}) { job { id } errors { code } }'
        ' b: processItem(input: {item: ""}) { job { id } errors { code } } }'
    )
    assert await api.ends(data["a"]["job"]["id"]) == "SUCCEEDED"
    assert data["b"] == {"job": None, "errors": [{"code": "INVALID"}]}


async def test_an_exception_in_a_field_hides_no_other_field_s_job(api: Api) -> None:
    response = await api.post({"query": 'mutation { processItem(input: {item: "x"}) { job { id } } raisesToo }'})
    assert response.status_code == 200
    found = response.json()
    assert found["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert await api.ends(found["data"]["processItem"]["job"]["id"]) == "SUCCEEDED"


async def test_an_answer_lists_the_accepted_jobs_in_order(api: Api) -> None:
    fields = " ".join(f'm{n}: processItem(input: {{item: "{n}"}}) {{ job {{ id }} }}' for n in range(5))
    data = await api.data(f"mutation {{ {fields} }}")
    ids = [data[f"m{n}"]["job"]["id"] for n in range(5)]
    assert ids == sorted(ids)
    for id_ in ids:
        assert await api.ends(id_) == "SUCCEEDED"


def folder(api: Api) -> Path:
    path = api.app.state.onward.settings.project
    assert isinstance(path, Path)
    return path


async def test_input_cannot_become_a_header_or_a_second_line(api: Api, name: str) -> None:
    payload = await api.mutate("sendNotification", email="ada@example.com", message=f'{name}"}}\n{{"forged": true}}')
    await api.ends(payload["job"]["id"])
    lines = (folder(api) / "var/notifications.jsonl").read_text().splitlines()
    assert not any("forged" in json.loads(line) for line in lines)


async def test_a_field_that_is_late_takes_no_other_one_s_answer_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields that have not begun by then are not run; a job that was accepted before has its id in the answer."""

    class Hanging:
        def __init__(self, **_: Any) -> None:
            self.left = 1

        async def next(self) -> list[Job]:
            await asyncio.Event().wait()
            return []

    monkeypatch.setattr(cancel_jobs, "BulkCancel", Hanging)
    monkeypatch.setattr(composition, "limits", lambda _settings: limits.Limits(timeout_s=0.5))
    fields = "job { id } errors { code }"
    text = f"""mutation {{
        first: processItem(input: {{ item: "a" }}) {{ {fields} }}
        late: cancelJobs(input: {{ filter: {{}} }}) {{ count }}
        never: processItem(input: {{ item: "b" }}) {{ {fields} }}
    }}"""
    async with running(settings_in(tmp_path)) as api:
        answer = (await api.post({"query": text})).json()
        assert answer["data"]["first"]["job"]["id"].startswith("job_")
        assert (answer["data"]["late"], answer["data"]["never"]) == (None, None)
        found = [(error["path"], error["extensions"]["code"]) for error in answer["errors"]]
        assert found == [(["late"], "TIMEOUT"), (["never"], "TIMEOUT")]
        jobs = await api.data("{ jobs { edges { node { id } } } }")
        assert len(jobs["jobs"]["edges"]) == 1
