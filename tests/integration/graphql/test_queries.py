"""Queries."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from onward.graphql.ids import cursor
from tests.integration.graphql.conftest import Api, running, settings_in

PAGE = """
query($first: Int, $after: String, $last: Int, $before: String, $filter: JobFilter) {
  jobs(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
    nodes { id } edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""
LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@pytest.fixture(scope="module")
async def seven(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Api, list[str]]]:
    """An application whose ledger holds seven jobs, and their ids, newest first."""
    async with running(settings_in(tmp_path_factory.mktemp("onward"))) as api:
        made = [await api.mutate("processItem", item="x", runAt=LATER) for _ in range(7)]
        yield api, [payload["job"]["id"] for payload in made][::-1]


async def page(api: Api, **arguments: Any) -> Any:
    return (await api.data(PAGE, **arguments))["jobs"]


def ids(found: Any) -> list[str]:
    return [node["id"] for node in found["nodes"]]


async def test_jobs_come_newest_first(seven: tuple[Api, list[str]]) -> None:
    api, jobs = seven
    found = await page(api)
    assert ids(found) == jobs
    assert [edge["node"]["id"] for edge in found["edges"]] == jobs
    assert found["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "startCursor": found["edges"][0]["cursor"],
        "endCursor": found["edges"][-1]["cursor"],
    }


async def test_pages_forwards_show_each_job_once(seven: tuple[Api, list[str]]) -> None:
    api, jobs = seven
    seen: list[str] = []
    after = None
    while True:
        found = await page(api, first=3, after=after)
        seen += ids(found)
        assert found["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert seen == jobs


async def test_pages_backwards_show_each_job_once(seven: tuple[Api, list[str]]) -> None:
    api, jobs = seven
    seen: list[str] = []
    before = None
    while True:
        found = await page(api, last=3, before=before)
        seen = ids(found) + seen
        before = found["pageInfo"]["startCursor"]
        if not found["pageInfo"]["hasPreviousPage"]:
            break
    assert seen == jobs


async def test_two_cursors_select_the_jobs_between_them(seven: tuple[Api, list[str]]) -> None:
    api, jobs = seven
    assert ids(await page(api, after=cursor(jobs[1]), before=cursor(jobs[5]))) == jobs[2:5]


async def test_a_page_of_zero_jobs_is_empty(seven: tuple[Api, list[str]]) -> None:
    api, _ = seven
    found = await page(api, first=0)
    assert found["nodes"] == []
    assert found["pageInfo"]["startCursor"] is None


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"status": ["SCHEDULED"]}, 7),
        ({"status": ["FAILED", "SCHEDULED"]}, 7),
        ({"status": ["FAILED"]}, 0),
        ({"status": []}, 7),
        ({"handler": ["steps.process_item"]}, 7),
        ({"handler": ["email.*", "st*s.*"]}, 7),
        ({"handler": ["email.*"]}, 0),
        ({"handler": ["steps_process%"]}, 0),
        ({"createdAfter": "2020-01-01T00:00:00Z"}, 7),
        ({"createdBefore": "2020-01-01T00:00:00Z"}, 0),
        ({"finishedAfter": "2020-01-01T00:00:00Z"}, 0),
        ({"errorMessage": "no answer"}, 0),
        ({"batch": "batch_1"}, 0),
        ({"createdAfter": "0001-01-01T00:00:00Z", "createdBefore": "9999-12-31T23:59:59Z"}, 7),
    ],
)
async def test_a_filter_selects_matching_jobs(seven: tuple[Api, list[str]], wanted: Any, count: int) -> None:
    api, _ = seven
    assert len(ids(await page(api, filter=wanted))) == count
    counted = "query($filter: JobFilter, $limit: Int! = 10000) { jobCount(filter: $filter, limit: $limit) }"
    assert (await api.data(counted, filter=wanted))["jobCount"] == count
    assert (await api.data(counted, filter=wanted, limit=3))["jobCount"] == min(count, 3)
    for limit in (0, 100_001):
        (error,) = await api.errors(counted, limit=limit)
        assert error["extensions"]["code"] == "INVALID"


@pytest.mark.parametrize(
    "arguments",
    [
        {"first": 1, "last": 1},
        {"first": -1},
        {"last": -1},
        {"first": 201},
        {"last": 201},
        {"filter": {"handler": ["\x00"]}},
    ],
)
async def test_an_invalid_page_is_an_error(seven: tuple[Api, list[str]], arguments: Any) -> None:
    api, _ = seven
    errors = await api.errors(PAGE, **arguments)
    assert errors[0]["extensions"]["code"] == "INVALID"
    assert errors[0]["path"] == ["jobs"]


@pytest.mark.parametrize(
    "bad",
    ["", "x", "job_0", "é", "%%%", "a" * 10_000, base64.urlsafe_b64encode(b"user_0").decode(), cursor("job_0") + "=",
     base64.urlsafe_b64encode(b"job_' OR 1").decode().rstrip("=")],
)  # fmt: skip
@pytest.mark.parametrize("argument", ["after", "before"])
async def test_a_bad_cursor_is_an_error_that_says_so(seven: tuple[Api, list[str]], argument: str, bad: str) -> None:
    api, _ = seven
    errors = await api.errors(PAGE, **{argument: bad})
    assert errors[0]["extensions"]["code"] == "BAD_CURSOR"


async def test_a_node_is_a_job_or_a_user(api: Api, name: str) -> None:
    made = await api.mutate("registerUser", "user { id } job { id }", username=name, email=f"{name}@example.com")
    query = "query($id: ID!) { node(id: $id) { __typename id ... on Job { handler } ... on User { username } } }"
    user = (await api.data(query, id=made["user"]["id"]))["node"]
    job = (await api.data(query, id=made["job"]["id"]))["node"]
    assert user == {"__typename": "User", "id": made["user"]["id"], "username": name}
    assert job == {"__typename": "Job", "id": made["job"]["id"], "handler": "email.welcome"}


@pytest.mark.parametrize("id_", ["", "job_0", "user_0", "order_1", "job_\x00", "x" * 10_000])
async def test_an_unknown_id_is_null(api: Api, id_: str) -> None:
    data = await api.data("query($id: ID!) { node(id: $id) { id } job(id: $id) { id } }", id=id_)
    assert data == {"node": None, "job": None}


async def test_an_open_server_treats_everybody_as_its_owner(api: Api) -> None:
    assert (await api.data("{ viewer { id roles } }"))["viewer"] == {"id": None, "roles": ["admin"]}


async def test_the_system_field_describes_the_server(seven: tuple[Api, list[str]]) -> None:
    api, _ = seven
    system = (
        await api.data("{ system { version backend handlers queues { backend reachable } counts { status count } } }")
    )["system"]
    assert system["backend"] == "background"
    assert system["handlers"] == ["email.welcome", "logging.write", "steps.process_item"]
    assert system["queues"] == [{"backend": "background", "reachable": True}]
    counts = {row["status"]: row["count"] for row in system["counts"]}
    assert counts["SCHEDULED"] == 7
    assert set(counts) == {
        "SCHEDULED",
        "QUEUED",
        "RUNNING",
        "RETRYING",
        "WAITING",
        "CANCELLING",
        "SUCCEEDED",
        "FAILED",
        "CANCELLED",
    }


async def test_times_are_in_utc_to_the_microsecond(api: Api) -> None:
    query = "query($at: DateTime!) { echo(at: $at) }"
    for given, expected in (
        ("2030-06-01T12:00:00+02:00", "2030-06-01T10:00:00.000000Z"),
        ("2030-06-01T12:00:00.123456Z", "2030-06-01T12:00:00.123456Z"),
        ("2030-06-01t12:00z", "2030-06-01T12:00:00.000000Z"),
    ):
        assert await api.data(query, at=given) == {"echo": expected}
    assert await api.data("{ naive }") == {"naive": "2030-01-01T00:00:00.000000Z"}, "one without a zone is in UTC"
