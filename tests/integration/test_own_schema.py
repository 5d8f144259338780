"""Onward's fields in a Strawberry schema of one's own, served by Strawberry's routers and by Onward's own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.embedded.own_schema import Application, application, ask, bearer, first, follow, running

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


def minimal(type_: GraphQLInputType) -> Any:
    """Return a value for an argument or a field of an input."""
    if isinstance(type_, GraphQLNonNull):
        return minimal(type_.of_type)
    if isinstance(type_, GraphQLList):
        return [minimal(type_.of_type)]
    if isinstance(type_, GraphQLInputObjectType):
        return {name: minimal(one.type) for name, one in type_.fields.items() if isinstance(one.type, GraphQLNonNull)}
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    texts = {"Int": 1, "Float": 1.0, "Boolean": True, "JSON": {}, "Duration": "PT1S", "Decimal": "1.5"}
    return texts.get(type_.name, "10.0.0.1")


def selected(type_: GraphQLOutputType, depth: int = 4) -> str:
    """Return the selection of all fields below a type that need no arguments."""
    named = get_named_type(type_)
    if not isinstance(named, GraphQLObjectType):
        return "" if is_leaf_type(named) else "{ __typename }"
    inner = {name: selected(one.type, depth - 1) for name, one in named.fields.items()}
    lines = [f"{name} {text}" for name, text in inner.items() if depth or text == ""]
    return "{ " + " ".join(lines) + " }" if lines else "{ __typename }"


def operations(schema: GraphQLSchema, mine: Iterable[str]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield an operation for each field of the root types that is not one of `mine`."""
    for kind, type_ in (
        ("query", schema.query_type),
        ("mutation", schema.mutation_type),
        ("subscription", schema.subscription_type),
    ):
        assert type_ is not None
        for name, field in type_.fields.items():
            if name in mine:
                continue
            needed = {key: one.type for key, one in field.args.items() if isinstance(one.type, GraphQLNonNull)}
            declared = ", ".join(f"${key}: {one}" for key, one in needed.items())
            given = ", ".join(f"{key}: ${key}" for key in needed)
            text = f"{kind}{f'({declared})' if declared else ''} {{ {name}{f'({given})' if given else ''}"
            yield kind, name, f"{text} {selected(field.type)} }}", {key: minimal(one) for key, one in needed.items()}


def empty(value: Any) -> bool:
    """Return True if nothing is shown: nulls, zeros, false, a status's words, and lists and objects of those."""
    if isinstance(value, dict):
        return all(key in {"status", *SHOWN_TO_ALL} or empty(one) for key, one in value.items())
    return all(empty(one) for one in value) if isinstance(value, list) else not value


@pytest.mark.parametrize("path", PATHS)
def test_an_anonymous_caller_gets_nothing_by_any_field(client: TestClient, served: Application, path: str) -> None:
    """The fields of the handlers included."""
    token, admin = bearer("ada"), bearer("root", ["admin"])
    job_id = ask(client, path, COUNT, token, text="x")["data"]["countWords"]["job"]["id"]
    ended(client, path, job_id, token)
    before = ask(client, path, "{ jobs(first: 200) { nodes { id version } } }", admin)
    checked = set()
    for kind, name, text, given in operations(served.schema._schema, MINE):
        variables = {**given, **({"id": job_id} if "id" in given else {})}
        if name in {"cancelJob", "retryJob"}:
            variables["input"]["id"] = job_id
        if kind == "subscription":
            refused = None
            if path == "/ours":
                with pytest.raises(WebSocketDisconnect) as closed:
                    follow(client, path, text, **variables)
                assert closed.value.code == 4403
            else:
                (refused,) = follow(client, path, text, **variables)
                assert refused["errors"][0]["extensions"]["code"] == "NOT_AUTHENTICATED", refused
        else:
            answer = ask(client, path, text, **variables)
            assert "errors" not in answer, (name, answer)
            found = answer["data"][name]
            if kind == "mutation":
                errors = found.pop("errors")
                assert [error["code"] for error in errors] == ["NOT_ALLOWED"], (name, errors)
            assert empty(found), (name, found)
        checked.add(name)
    assert {"job", "jobs", "node", "cancelJob", "retryJobs", "shopOrder", "countWords", "jobUpdated"} <= checked
    assert ask(client, path, "{ jobs(first: 200) { nodes { id version } } }", admin) == before
