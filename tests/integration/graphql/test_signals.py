"""signalJob: typed payloads, typed errors, roles, and signals that are sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from onward import JobContext, sequence, sleep, wait_for
from tests.integration.graphql.conftest import Api, running, settings_in, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header

HERE = {"handlers": {"modules": ["tests.integration.graphql.test_signals"]}}
JOB = (
    "query($id: ID!) { job(id: $id)"
    " { status result waitingFor wait { name since until schema } steps { name status result } } }"
)
SIGNAL = (
    "mutation($input: SignalJobInput!) { signalJob(input: $input) { job { id status } errors { code message path } } }"
)
UNTIL = timedelta(days=2)


@dataclass
class Approval:
    approved: bool
    comment: str = ""


async def draft(job: JobContext, *, text: str) -> str:
    return text


async def publish(job: JobContext, approval: Approval) -> str:
    return f"{job.result_of('draft')} {approval.approved} {approval.comment}"


async def tell(job: JobContext, value: str) -> str:
    return value


report = sequence("signals.report", (draft, wait_for("approval", Approval, timeout=UNTIL), publish), mutation=True)
reviewed = sequence(
    "signals.reviewed", (draft, wait_for("approval", Approval, roles=["staff"]), publish), mutation=True
)
rest = sequence("signals.rest", (draft, sleep(UNTIL), tell), mutation=True)


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with running(settings_in(tmp_path_factory.mktemp("onward"), **HERE)) as api:
        yield api


async def waiting(api: Api, mutation: str = "signalsReport") -> str:
    job_id: str = (await api.mutate(mutation, text="words"))["job"]["id"]
    await until(lambda: _is(api, job_id, "WAITING"))
    return job_id


async def _is(api: Api, job_id: str, status: str) -> bool:
    return bool((await api.data(JOB, id=job_id))["job"]["status"] == status)


async def signal(api: Api, job_id: str, payload: Any = None, name: str = "approval", **further: Any) -> Any:
    given = {"id": job_id, "name": name, "payload": payload, **further}
    return (await api.data(SIGNAL, input=given))["signalJob"]


async def test_a_job_shows_what_it_waits_for(api: Api) -> None:
    """The name, the time, and the JSON Schema of the payload; the wait is one of the steps."""
    job = (await api.data(JOB, id=await waiting(api)))["job"]
    assert job["wait"]["name"] == "approval"
    assert job["wait"]["since"] < job["wait"]["until"]
    assert job["wait"]["schema"]["properties"]["approved"] == {"title": "Approved", "type": "boolean"}
    assert job["waitingFor"].startswith("the signal approval, until ")
    assert [(step["name"], step["status"]) for step in job["steps"]] == [
        ("draft", "SUCCEEDED"),
        ("approval", "RUNNING"),
        ("publish", "PENDING"),
    ]
    found = await api.data("{ jobs(filter: {status: [WAITING]}) { nodes { wait { name } waitingFor } } }")
    assert {"wait": {"name": "approval"}, "waitingFor": job["waitingFor"]} in found["jobs"]["nodes"]


async def test_a_sleeping_job_shows_its_time(api: Api) -> None:
    job_id = await waiting(api, "signalsRest")
    job = (await api.data(JOB, id=job_id))["job"]
    assert (job["wait"]["name"], job["wait"]["schema"]) == ("sleep", None)
    assert job["waitingFor"].startswith("its time, ")
    (error,) = (await signal(api, job_id, name="sleep"))["errors"]
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["name"])


async def test_a_signal_lets_the_job_go_on(api: Api) -> None:
    job_id = await waiting(api)
    found = await signal(api, job_id, {"approved": True, "comment": "fine"})
    assert (found["job"]["id"], found["errors"]) == (job_id, [])
    assert await api.ends(job_id) == "SUCCEEDED"
    job = (await api.data(JOB, id=job_id))["job"]
    assert (job["result"], job["wait"]) == ("words True fine", None)
    assert job["steps"][1]["result"] == {"approved": True, "comment": "fine"}


async def test_the_same_signal_again_answers_the_same_and_another_is_a_conflict(api: Api) -> None:
    """The same holds once the job is over."""
    job_id = await waiting(api)
    for _ in range(2):
        assert (await signal(api, job_id, {"approved": True}))["errors"] == []
    await api.ends(job_id)
    again = await signal(api, job_id, {"comment": "", "approved": True})
    assert (again["job"]["id"], again["errors"]) == (job_id, [])
    (error,) = (await signal(api, job_id, {"approved": False}))["errors"]
    assert (error["code"], error["path"]) == ("CONFLICT", ["payload"])


async def test_an_idempotency_key_belongs_to_one_signal(api: Api) -> None:
    job_id = await waiting(api)
    for _ in range(2):
        found = await signal(api, job_id, {"approved": True}, idempotencyKey="once")
        assert (found["job"]["id"], found["errors"]) == (job_id, [])
    (error,) = (await signal(api, await waiting(api), {"approved": True}, idempotencyKey="once"))["errors"]
    assert error["code"] == "IDEMPOTENCY_KEY_REUSED"
    (error,) = (await signal(api, job_id, {"approved": False}, idempotencyKey="twice"))["errors"]
    assert (error["code"], error["path"]) == ("CONFLICT", ["payload"])


@pytest.mark.parametrize(
    ("payload", "paths"),
    [
        ({"approved": "yes"}, [["payload", "approved"]]),
        ({"approved": True, "comment": 1, "by": "Ann"}, [["payload", "comment"], ["payload", "by"]]),
        (None, [["payload"]]),
        ({"approved": True, "comment": "x" * 70_000}, [["payload"]]),
    ],
)
async def test_a_wrong_payload_is_an_error_with_its_path(api: Api, payload: Any, paths: list[list[str]]) -> None:
    job_id = await waiting(api)
    found = await signal(api, job_id, payload)
    assert found["job"] is None
    assert [(error["code"], error["path"]) for error in found["errors"]] == [("INVALID", path) for path in paths]
    assert await _is(api, job_id, "WAITING")


async def test_other_errors_are_typed(api: Api) -> None:
    """An unknown name, an unknown job, a job that is over."""
    job_id = await waiting(api)
    cases = [
        (job_id, "approved", "NOT_FOUND", ["name"]),
        ("job_0", "approval", "NOT_FOUND", ["id"]),
        ("words", "approval", "NOT_FOUND", ["id"]),
    ]
    for id_, name, code, path in cases:
        (error,) = (await signal(api, id_, {"approved": True}, name))["errors"]
        assert (error["code"], error["path"]) == (code, path)
        if name == "approved":
            words = "The handler signals.report waits for no signal 'approved'; it waits for approval."
            assert error["message"] == words
    assert (await api.mutate("cancelJob", "job { status wait { name } }", id=job_id))["job"] == {
        "status": "CANCELLED",
        "wait": None,
    }
    (error,) = (await signal(api, job_id, {"approved": True}))["errors"]
    assert (error["code"], error["path"]) == ("CONFLICT", ["id"])


async def test_viewers_signal_what_is_theirs_or_what_their_role_allows(tmp_path: Path) -> None:
    """The owner by default; with roles these alone, who need not see the job; admins always."""
    async with behind_tokens(tmp_path, **HERE) as api:

        async def send(who: dict[str, str], job_id: str) -> tuple[Any, list[str]]:
            given = {"id": job_id, "name": "approval", "payload": {"approved": True}}
            found = (await ask(api, who, SIGNAL, input=given))["data"]["signalJob"]
            return found["job"], [error["code"] for error in found["errors"]]

        async def made(mutation: str) -> str:
            query = f'mutation {{ {mutation}(input: {{text: "words"}}) {{ job {{ id }} }} }}'
            job_id: str = (await ask(api, header("ada"), query))["data"][mutation]["job"]["id"]
            return job_id

        own = await made("signalsReport")
        assert await send(header("eve"), own) == (None, ["NOT_FOUND"])
        assert await send({}, own) == (None, ["NOT_ALLOWED"])
        job, errors = await send(header("ada"), own)
        assert (job["id"], errors) == (own, [])
        for_staff = await made("signalsReviewed")
        assert await send(header("ada"), for_staff) == (None, ["NOT_ALLOWED"])
        assert await send(header("eve"), for_staff) == (None, ["NOT_FOUND"])
        assert await send(header("bob", "staff"), for_staff) == (None, [])
        job, errors = await send(header("root", "admin"), await made("signalsReviewed"))
        assert (job is not None, errors) == (True, [])
