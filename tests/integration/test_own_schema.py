"""Onward's fields in a Strawberry schema of one's own, served by Strawberry's routers and by Onward's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.embedded.own_schema import Application, application, ask, bearer, first, follow, running
from tests.integration.graphql.sweep import Try, operations

MINE = {"fruit", "fruits", "refused", "hello", "length", "echo", "ticks"}
PATHS = ("/theirs", "/mixed", "/asgi/", "/ours")
COUNT = """mutation ($text: String!) {
  countWords(input: {text: $text, runAt: "2020-01-01T00:00:00Z"}) {
    job { id status createdAt } errors { code message }
  }
}"""
JOB = """query ($id: ID!) {
  job(id: $id) { id status createdAt runAt waitingFor result output { ... on Figures { words longest } } }
}"""

GO_ON = "subscription ($after: String) { jobsUpdated(afterChange: $after) { id status change } }"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Application:
    return application(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def client(served: Application) -> Iterator[TestClient]:
    with running(served.app) as client:
        yield client


def ended(client: TestClient, path: str, job_id: str, token: str) -> Any:
    deadline = time.monotonic() + 30
    while (job := ask(client, path, JOB, token, id=job_id)["data"]["job"])["status"] != "SUCCEEDED":
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
    return job


@pytest.mark.parametrize("path", PATHS)
def test_a_handlers_mutation_is_answered_and_its_job_done(client: TestClient, path: str) -> None:
    token = bearer("ada")
    payload = ask(client, path, COUNT, token, text="one three")["data"]["countWords"]
    assert payload["errors"] == []
    job = ended(client, path, payload["job"]["id"], token)
    assert job["output"] == {"words": 2, "longest": "three"}
    assert job["runAt"].startswith("2020-01-01T00:00:00")
    others = ask(client, path, JOB, bearer("eve"), id=job["id"])
    assert others == {"data": {"job": None}}


@pytest.mark.parametrize("path", PATHS)
def test_a_schedule_is_made_shown_and_deleted(client: TestClient, path: str) -> None:
    """The values of enums and times are those of the library's own schema."""
    admin = bearer("root", ["admin"])
    create = """mutation ($input: CreateScheduleInput!) {
      createSchedule(input: $input) {
        schedule { name overlap missed madeAt upcoming } errors { code path message }
      }
    }"""
    rule = {"cron": "0 7 1 1 *", "overlap": "CANCEL_LAST"}
    new = {"name": "new year", "handler": "shop.count", "params": {"text": "one"}, **rule}
    payload = ask(client, path, create, admin, input=new)["data"]["createSchedule"]
    assert payload["errors"] == []
    made = payload["schedule"]
    assert (made["name"], made["overlap"], made["missed"]) == ("new year", "CANCEL_LAST", "RUN_ONCE")
    assert [at[4:16] for at in made["upcoming"]] == ["-01-01T07:00"] * 5
    query = "{ system { schedules(first: 5) { name overlap missed madeAt upcoming } } }"
    assert ask(client, path, query, admin)["data"]["system"]["schedules"] == [made]
    delete = 'mutation { deleteSchedule(input: {name: "new year"}) { schedule { name } errors { code } } }'
    gone = ask(client, path, delete, admin)["data"]["deleteSchedule"]
    assert gone == {"schedule": {"name": "new year"}, "errors": []}


@pytest.mark.parametrize("path", PATHS)
def test_a_subscription_goes_on_from_a_change(client: TestClient, path: str) -> None:
    """The change of a page and of a message are positions of that viewer's answer, by whatever server."""
    token = bearer("ada")
    change = ask(client, path, "{ jobs(first: 0) { change } }", token)["data"]["jobs"]["change"]
    for text in ("one", "two"):
        job = ask(client, path, COUNT, token, text=text)["data"]["countWords"]["job"]["id"]
        ended(client, path, job, token)
        seen = first(client, path, GO_ON, {"authorization": token}, after=change)["data"]["jobsUpdated"]
        assert (seen["id"], seen["status"]) == (job, "SUCCEEDED")
        change = seen["change"]


SHOWN_TO_ALL = {"version", "backend", "handlers", "queues", "change"}  # as in the library's own schema


def empty(value: Any) -> bool:
    """Return True if nothing is shown: nulls, zeros, false, a status's words, and lists and objects of those."""
    if isinstance(value, dict):
        return all(key in {"status", "__typename", *SHOWN_TO_ALL} or empty(one) for key, one in value.items())
    return all(empty(one) for one in value) if isinstance(value, list) else not value


@pytest.mark.parametrize("path", PATHS)
def test_an_anonymous_caller_gets_nothing_by_any_field(client: TestClient, served: Application, path: str) -> None:
    """The fields of the handlers are tried, too."""
    token, admin = bearer("ada"), bearer("root", ["admin"])
    job_id = ask(client, path, COUNT, token, text="x")["data"]["countWords"]["job"]["id"]
    ended(client, path, job_id, token)
    whole = "{ jobs(first: 200) { nodes { id version } } }"
    before = ask(client, path, whole, admin)
    tried = set()
    for one in operations(served.schema.as_str(), {"job": job_id}, nesting=1):
        if one.field in MINE:
            continue
        if one.kind == "subscription":
            refused(client, path, one)
        else:
            answer = ask(client, path, one.query, **one.variables)
            assert "errors" not in answer, (one.field, answer)
            found = answer["data"][one.field]
            if one.kind == "mutation":
                errors = found.pop("errors")
                assert [error["code"] for error in errors] == ["NOT_ALLOWED"], (one.field, errors)
            assert empty(found), (one.field, found)
        tried.add(one.field)
    assert {"job", "jobs", "node", "cancelJob", "retryJobs", "shopOrder", "countWords", "jobUpdated"} <= tried
    assert ask(client, path, whole, admin) == before


def refused(client: TestClient, path: str, one: Try) -> None:
    """Check that a subscription is refused, by an error or by the socket's end."""
    if path == "/ours":
        with pytest.raises(WebSocketDisconnect) as closed:
            follow(client, path, one.query, **one.variables)
        assert closed.value.code == 4403
    else:
        (answer,) = follow(client, path, one.query, **one.variables)
        assert answer["errors"][0]["extensions"]["code"] == "NOT_AUTHENTICATED", answer


@pytest.mark.parametrize("path", ["/theirs", "/mixed", "/ours"])
def test_a_job_is_followed_over_a_socket_beside_a_subscription_of_ones_own(client: TestClient, path: str) -> None:
    init = {"Authorization": bearer("ada")}
    job_id = ask(client, path, COUNT, bearer("ada"), text="a b")["data"]["countWords"]["job"]["id"]
    updates = "subscription ($id: ID!) { jobUpdated(id: $id) { id version done result change } }"
    events = [one["data"]["jobUpdated"] for one in follow(client, path, updates, init, id=job_id)]
    assert [event["done"] for event in events[:-1]] == [False] * (len(events) - 1)
    assert (events[-1]["done"], events[-1]["result"]["words"]) == (True, 2)
    ticks = follow(client, path, "subscription { ticks(to: 3) }", init)
    assert [one["data"]["ticks"] for one in ticks] == [0, 1, 2]
    others = follow(client, path, updates, {"Authorization": bearer("eve")}, id=job_id)
    assert others[-1]["errors"][0]["extensions"]["code"] == "NOT_FOUND"


def test_loaders_permissions_and_extensions_of_ones_own_work_beside(client: TestClient) -> None:
    text = '{ a: length(word: "one") b: length(word: "three") hello refused viewer { id } }'
    answer = ask(client, "/mixed", text, bearer("ada"))
    assert answer["data"] == {"a": 3, "b": 5, "hello": "HELLO YOU", "refused": None, "viewer": {"id": "ada"}}
    assert [error["message"] for error in answer["errors"]] == ["Not you."]
    marked = ask(client, "/marked", "{ viewer { id } }", bearer("ada"))
    assert marked == {"data": {"viewer": {"id": "ada"}}, "extensions": {"marked": True}}


def test_a_router_without_onward_s_context_says_what_to_add(client: TestClient) -> None:
    answer = ask(client, "/without", "{ viewer { id } }", bearer("ada"))
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NO_CONTEXT"]
