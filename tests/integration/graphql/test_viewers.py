"""Two people, an admin and an anonymous caller, at every entry of the API."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from onward.jobs import ledger
from tests.integration.graphql.conftest import Api, running, serving, settings_in
from tests.integration.graphql.test_sse import Events
from tests.integration.graphql.test_websocket import INIT, client

SECRET = "a secret of thirty-two characters"
NOT_ALLOWED = [{"code": "NOT_ALLOWED", "message": "This needs a bearer token, or a session.", "path": None}]
EVERYTHING = """
    id handler status done backend version progress { completed } steps { name result } attempts { number worker }
    createdAt runAt startedAt finishedAt result error { message } canCancel canRetry waitingFor
"""


def header(sub: str, *roles: str, lasts_s: float = 3_600) -> dict[str, str]:
    claims = {"sub": sub, "exp": time.time() + lasts_s, "roles": list(roles)}
    return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}


def as_payload(sub: str, *roles: str, lasts_s: float = 3_600) -> dict[str, str]:
    return {"Authorization": header(sub, *roles, lasts_s=lasts_s)["authorization"]}


def jwt_settings(folder: Path, **further: Any) -> Any:
    return settings_in(folder, **{"auth": {"mode": "jwt", "jwt": {"secret": SECRET, "leeway_s": 0}}, **further})


@asynccontextmanager
async def behind_tokens(folder: Path, **further: Any) -> AsyncIterator[Api]:
    async with running(jwt_settings(folder, **further)) as api:
        yield api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with behind_tokens(tmp_path) as api:
        yield api


async def ask(api: Api, who: dict[str, str], query: str, **variables: Any) -> Any:
    return (await api.post({"query": query, "variables": variables}, headers=who)).json()


async def process(api: Api, who: dict[str, str], item: str = "secret", **further: Any) -> str:
    query = "mutation($i: ProcessItemInput!) { processItem(input: $i) { job { id } errors { code message path } } }"
    payload = (await ask(api, who, query, i={"item": item, **further}))["data"]["processItem"]
    assert not payload["errors"]
    return str(payload["job"]["id"])


async def finished_job(api: Api, who: dict[str, str], job_id: str) -> Any:
    while True:
        job = (await ask(api, who, f"query($id: ID!) {{ job(id: $id) {{ {EVERYTHING} }} }}", id=job_id))["data"]["job"]
        if job["done"]:
            return job
        await asyncio.sleep(0.02)


async def test_a_token_gives_the_viewer(api: Api) -> None:
    query = "{ viewer { id roles } }"
    assert await ask(api, header("ada", "x"), query) == {"data": {"viewer": {"id": "ada", "roles": ["x"]}}}
    assert await ask(api, {}, query) == {"data": {"viewer": {"id": None, "roles": []}}}


@pytest.mark.parametrize("value", ["Bearer x", "Bearer", "Basic YTpi", "", "Bearer a b", "\x00"])
async def test_a_wrong_token_is_401_for_any_request(api: Api, value: str) -> None:
    response = await api.post({"query": "{ viewer { id } }"}, headers={"authorization": value})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert response.json()["errors"][0]["extensions"] == {"code": "NOT_AUTHENTICATED"}


async def test_two_authorization_headers_are_refused(api: Api) -> None:
    headers = [("authorization", header("ada")["authorization"]), ("authorization", header("bob")["authorization"])]
    response = await api.http.post("/graphql", json={"query": "{ viewer { id } }"}, headers=headers)
    assert response.status_code == 401


async def test_an_admin_sees_all_and_each_viewer_her_own(api: Api) -> None:
    ada, bob, admin = header("ada"), header("bob"), header("root", "admin")
    hers, his = await process(api, ada), await process(api, bob)
    lists = {
        who: {
            (job["id"], job["owner"])
            for job in (await ask(api, headers, "{ jobs { nodes { id owner } } }"))["data"]["jobs"]["nodes"]
        }
        for who, headers in {"ada": ada, "bob": bob, "admin": admin, "nobody": {}}.items()
    }
    of_ada, of_bob = (hers, "ada"), (his, "bob")
    assert lists == {"ada": {of_ada}, "bob": {of_bob}, "admin": {of_ada, of_bob}, "nobody": set()}


MUTATIONS = {
    "registerUser": {"username": "eve", "email": "eve@example.com"},
    "sendNotification": {"email": "eve@example.com", "message": "x"},
    "processItem": {"item": "x"},
    "cancelJob": {"id": "job_x"},
    "retryJob": {"id": "job_x"},
    "retryJobs": {"filter": {}},
    "cancelJobs": {"filter": {}},
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_without_a_token_no_mutation_does_anything(api: Api, name: str) -> None:
    query = (
        f"mutation($i: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $i) {{ errors {{ code message path }} }} }}"
    )
    assert await ask(api, {}, query, i=MUTATIONS[name]) == {"data": {name: {"errors": NOT_ALLOWED}}}
    counts = await ask(api, header("root", "admin"), "{ system { counts { count } } }")
    assert {row["count"] for row in counts["data"]["system"]["counts"]} == {0}


async def test_without_a_token_a_project_s_own_mutation_does_nothing_either(api: Api) -> None:
    (error,) = (await ask(api, {}, "mutation { raisesToo }"))["errors"]
    assert error["extensions"]["code"] == "NOT_AUTHENTICATED"


async def test_without_a_token_queries_show_nothing(api: Api) -> None:
    job = await process(api, header("ada"))
    query = (
        "query($id: ID!) { job(id: $id) { id } node(id: $id) { id } jobs { nodes { id } } system { counts { count } } }"
    )
    data = (await ask(api, {}, query, id=job))["data"]
    assert (data["job"], data["node"], data["jobs"]["nodes"]) == (None, None, [])
    assert {row["count"] for row in data["system"]["counts"]} == {0}
    response = await api.post({"query": "subscription { jobsUpdated { id } }"}, headers={"accept": "text/event-stream"})
    assert response.status_code == 401


async def test_a_registration_without_a_token_gives_a_job_that_only_admins_see(tmp_path: Path) -> None:
    query = """mutation($i: RegisterUserInput!) {
        registerUser(input: $i) { user { id } job { id status } replayed errors { code } } }"""
    given = {"username": "eve", "email": "eve@example.com", "idempotencyKey": "k"}
    async with behind_tokens(tmp_path, register={"anonymous": True}) as api:
        payload = (await ask(api, {}, query, i=given))["data"]["registerUser"]
        job, user = payload["job"]["id"], payload["user"]["id"]
        look = "query($job: ID!, $user: ID!) { job(id: $job) { id } user: node(id: $user) { id } }"
        for who in ({}, header("ada"), header("")):
            seen = await ask(api, who, look, job=job, user=user)
            assert seen.get("data", {"job": None, "user": None}) == {"job": None, "user": None}
        seen = await ask(api, header("root", "admin"), look, job=job, user=user)
        assert seen["data"] == {"job": {"id": job}, "user": {"id": user}}
        other = 'mutation { processItem(input: {item: "x"}) { errors { code message path } } }'
        assert (await ask(api, {}, other))["data"]["processItem"]["errors"] == NOT_ALLOWED


@asynccontextmanager
async def open_handlers(folder: Path, *, anonymous: bool) -> AsyncIterator[Api]:
    """Serve the handlers of that module alone."""
    settings = jwt_settings(folder, register={"anonymous": anonymous})
    own = {"modules": ("tests.integration.graphql.open_handlers",), "lifespan": None}
    parts = {
        "gql": settings.gql.model_copy(update={"modules": ()}),
        "handlers": settings.handlers.model_copy(update=own),
    }
    async with running(settings.model_copy(update=parts)) as api:
        yield api


async def test_a_handler_dispatches_for_its_owner_or_another_one(tmp_path: Path) -> None:
    query = 'mutation { usersInvite(input: {username: "eve"}) { job { id } } }'
    async with open_handlers(tmp_path, anonymous=False) as api:
        parent = (await ask(api, header("ada"), query))["data"]["usersInvite"]["job"]["id"]
        own, other = (await finished_job(api, header("ada"), parent))["result"]
        database = api.app.state.services.database
        jobs = [await database.read(partial(ledger.get, job_id=job)) for job in (own, other)]
        assert [(job.owner, job.priority) for job in jobs] == [("ada", 0), ("bob", -9)], "smaller goes first there"
        seen = "query($id: ID!) { job(id: $id) { id } }"
        found = [(await ask(api, header("bob"), seen, id=job))["data"]["job"] for job in (own, other)]
        assert found == [None, {"id": other}]


@pytest.mark.parametrize("anonymous", [True, False])
async def test_a_generated_registration_needs_no_token_where_it_is_open(tmp_path: Path, *, anonymous: bool) -> None:
    async with open_handlers(tmp_path, anonymous=anonymous) as api:
        query = """mutation { registerUser(input: {username: "eve"}) { job { status } errors { code message path } }
            usersOther(input: {username: "eve"}) { job { status } errors { code message path } } }"""
        data = (await ask(api, {}, query))["data"]
    refused = {"job": None, "errors": NOT_ALLOWED}
    assert data["registerUser"] == ({"job": {"status": "QUEUED"}, "errors": []} if anonymous else refused)
    assert data["usersOther"] == refused


async def test_figures_of_all_jobs_are_for_admins(api: Api) -> None:
    query = "{ system { queues { backend reachable depth oldestAgeMs } } }"
    (queue,) = (await ask(api, header("ada"), query))["data"]["system"]["queues"]
    assert queue == {"backend": "background", "reachable": True, "depth": None, "oldestAgeMs": None}
    (queue,) = (await ask(api, header("root", "admin"), query))["data"]["system"]["queues"]
    assert queue["depth"] == 0
    assert (await api.http.get("/metrics", headers=header("ada"))).status_code == 401
    assert (await api.http.get("/metrics")).status_code == 401
    assert (await api.http.get("/metrics", headers=header("root", "admin"))).status_code == 200


def _is_not_found(name: str, data: Any) -> bool:
    return bool(data[name] == {"job": None, "errors": [{"code": "NOT_FOUND"}]})


def all_reads(job: str, cursor: str) -> list[tuple[str, dict[str, Any], Callable[[Any], bool]]]:
    """Every way to another person's job: an operation, its variables, and whether its data is empty."""
    spread = f"... on Job {{ {EVERYTHING} }}"
    found: list[tuple[str, dict[str, Any], Callable[[Any], bool]]] = []

    def add(query: str, harmless: Callable[[Any], bool], **variables: Any) -> None:
        found.append((query, variables, harmless))

    for id_ in (
        job,
        job.upper(),
        job.lower(),
        f" {job}",
        f"{job} ",
        f"{job}\x00",
        f"{job}%",
        job[:-1] + "_",
        "job_%",
        cursor,
    ):
        add(f"query($id: ID!) {{ job(id: $id) {{ {EVERYTHING} }} }}", lambda d: d["job"] is None, id=id_)
        add(f"query($id: ID!) {{ node(id: $id) {{ id {spread} }} }}", lambda d: d["node"] is None, id=id_)
        for name, further in (("cancelJob", ""), ("retryJob", ", fromStart: true"), ("retryJob", "")):
            add(
                f"mutation($id: ID!) {{ {name}(input: {{id: $id{further}}}) {{ job {{ id }} errors {{ code }} }} }}",
                partial(_is_not_found, name),
                id=id_,
            )
    filters: list[Any] = [
        None,
        {},
        {"status": ["FAILED"]},
        {"status": ["SCHEDULED", "FAILED", "SUCCEEDED", "QUEUED", "RUNNING", "CANCELLED"]},
        {"handler": ["*"]},
        {"handler": ["steps.process_item"]},
        {"handler": ["steps.*", "%", "_", "' OR 1=1 --"]},
        {"createdAfter": "1970-01-01T00:00:00Z"},
        {"createdBefore": "2200-01-01T00:00:00Z"},
        {"status": [], "handler": []},
        {"errorCode": ["FAILED", "BUSY"]},
        {"owner": "ada"},
        {"owner": "a" * 255},
        {"finishedAfter": "1970-01-01T00:00:00Z", "errorMessage": "no"},
    ]
    ranges: list[dict[str, Any]] = [
        {"first": 200},
        {"last": 200},
        {"first": 1, "after": cursor},
        {"last": 9, "before": cursor},
    ]
    query = f"""query($f: JobFilter, $first: Int, $last: Int, $after: String, $before: String) {{
        jobs(filter: $f, first: $first, last: $last, after: $after, before: $before) {{
            edges {{ cursor node {{ id }} }} nodes {{ {EVERYTHING} }}
            pageInfo {{ hasNextPage startCursor endCursor }} }} }}"""
    for filter_ in filters:
        for range_ in ranges:
            add(
                query,
                lambda d: not d["jobs"]["nodes"] and d["jobs"]["pageInfo"]["endCursor"] is None,
                f=filter_,
                **range_,
            )
        add("query($f: JobFilter) { jobCount(filter: $f) }", lambda d: d["jobCount"] == 0, f=filter_)
        if filter_ is not None:
            add(
                "mutation($f: JobFilter!) { retryJobs(input: {filter: $f, limit: 10000}) { count errors { code } } }",
                lambda d: d["retryJobs"] == {"count": 0, "errors": []},
                f=filter_,
            )
    add("{ system { counts { count } } }", lambda d: {row["count"] for row in d["system"]["counts"]} == {0})
    return found


async def test_a_hundred_attempts_on_another_viewer_s_jobs_show_and_change_nothing(api: Api) -> None:
    ada, bob = header("ada"), header("bob")
    scheduled = await process(api, ada, runAt=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    done, failed = await process(api, ada), await process(api, ada, "bad\x01item")
    assert (await finished_job(api, ada, failed))["status"] == "FAILED"
    assert (await finished_job(api, ada, done))["status"] == "SUCCEEDED"
    page = "{ jobs { edges { cursor node { id } } } }"
    edges = (await ask(api, ada, page))["data"]["jobs"]["edges"]
    cursors = {edge["node"]["id"]: edge["cursor"] for edge in edges}
    everything = f"{{ jobs {{ nodes {{ {EVERYTHING} }} }} }}"
    before = await ask(api, ada, everything)
    tries = 0
    for job in (scheduled, done, failed):
        for query, variables, harmless in all_reads(job, cursors[job]):
            answer = await ask(api, bob, query, **variables)
            assert "errors" not in answer, answer
            assert harmless(answer["data"]), (query, variables, answer)
            tries += 1
    assert tries > 100
    assert await ask(api, ada, everything) == before


async def test_another_viewer_s_idempotency_key_is_independent(api: Api) -> None:
    ada, bob = header("ada"), header("bob")
    hers = await process(api, ada, idempotencyKey="k")
    assert await process(api, bob, idempotencyKey="k") != hers
    assert await process(api, bob, "other", idempotencyKey="j") != hers
    assert await process(api, ada, idempotencyKey="k") == hers


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(jwt_settings(tmp_path_factory.mktemp("onward"))) as address:
        yield address


async def over_http(address: str, who: dict[str, str], query: str, **variables: Any) -> Any:
    async with httpx2.AsyncClient() as http:
        body = {"query": query, "variables": variables}
        return (await http.post(f"http://{address}/graphql", json=body, headers=who)).json()


PROCESS = 'mutation($at: DateTime) { processItem(input: {item: "x", runAt: $at}) { job { id } } }'


async def test_subscriptions_show_each_viewer_her_own(address: str) -> None:
    async with client(address, init=False) as bob, client(address, init=False) as ada:
        for socket, sub in ((bob, "bob"), (ada, "ada")):
            await socket.send({**INIT, "payload": as_payload(sub)})
            assert await socket.receive() == {"type": "connection_ack"}
            await socket.send(
                {"id": "1", "type": "subscribe", "payload": {"query": "subscription { jobsUpdated { id } }"}}
            )
            await socket.send({"id": "2", "type": "subscribe", "payload": {"query": "{ viewer { id } }"}})
            assert (await socket.receive())["payload"] == {"data": {"viewer": {"id": sub}}}
            assert (await socket.receive())["type"] == "complete"
        await asyncio.sleep(0.2)
        answer = await over_http(address, header("ada"), PROCESS)
        hers = answer["data"]["processItem"]["job"]["id"]
        assert (await ada.receive())["payload"]["data"]["jobsUpdated"]["id"] == hers
        for after in (None, 0, 1, -1, 2**31 - 1):
            message, end = await bob.run(
                "subscription($id: ID!, $v: Int) { jobUpdated(id: $id, afterVersion: $v) { id } }", id=hers, v=after
            )
            assert "data" not in message["payload"]
            assert [error["extensions"]["code"] for error in message["payload"]["errors"]] == ["NOT_FOUND"]
            assert end["type"] == "complete"
        his = (await over_http(address, header("bob"), PROCESS))["data"]["processItem"]["job"]["id"]
        assert (await bob.receive())["payload"]["data"]["jobsUpdated"]["id"] == his


@pytest.mark.parametrize(
    "payload", [None, {}, {"authorization": "Bearer x"}, {"Authorization": 5}, {"token": "x"}, {"Authorization": "x"}]
)
async def test_a_socket_without_a_valid_token_is_closed_with_4403(address: str, payload: Any) -> None:
    async with client(address, init=False) as c:
        await c.send({**INIT, "payload": payload})
        assert await c.closed() == 4403


async def test_an_expired_token_ends_its_socket(address: str) -> None:
    async with client(address, init=False) as c:
        await c.send({**INIT, "payload": as_payload("ada", lasts_s=1.5)})
        assert await c.receive() == {"type": "connection_ack"}
        await c.send({"id": "1", "type": "subscribe", "payload": {"query": "subscription { jobsUpdated { id } }"}})
        started = time.monotonic()
        assert await c.closed() == 4403
        assert time.monotonic() - started < 30


async def test_an_expired_token_ends_its_event_stream(address: str) -> None:
    body = {"query": "subscription { jobsUpdated { id } }"}
    headers = {"accept": "text/event-stream", **header("ada", lasts_s=1.5)}
    async with (
        httpx2.AsyncClient(timeout=30) as http,
        http.stream("POST", f"http://{address}/graphql", json=body, headers=headers) as response,
    ):
        events = [event async for event in Events(response)]
    assert [error["extensions"]["code"] for event in events for error in event["errors"]] == ["NOT_AUTHENTICATED"]


async def test_a_mutation_over_a_socket_belongs_to_its_viewer(address: str) -> None:
    async with client(address, init=False) as c:
        await c.send({**INIT, "payload": as_payload("carol")})
        await c.receive()
        made = (await c.run(PROCESS))[0]["payload"]["data"]["processItem"]["job"]["id"]
        (answer, _) = await c.run("query($id: ID!) { job(id: $id) { id } }", id=made)
        assert answer["payload"]["data"]["job"] == {"id": made}
    seen = await over_http(address, header("bob"), "query($id: ID!) { job(id: $id) { id } }", id=made)
    assert seen == {"data": {"job": None}}
