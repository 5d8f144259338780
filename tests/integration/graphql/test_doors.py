"""Nobody sees or does anything, and no viewer another one's, in every form of the API: served, mounted, merged.

The fields come from the schema by themselves: one that is added is tried here as well.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import jwt
import pytest
import strawberry
from fastapi import FastAPI
from strawberry.extensions import ParserCache, SchemaExtension, ValidationCache
from strawberry.fastapi import GraphQLRouter

from onward import Onward, Viewer
from onward.api.app import create_app
from onward.config.settings import load
from tests import application
from tests.integration.graphql.asgi_sockets import Closed, asgi_socket
from tests.integration.graphql.conftest import Api
from tests.integration.graphql.sweep import Try, operations
from tests.integration.graphql.test_sse import ACCEPT
from tests.integration.graphql.users import SESSIONS
from tests.processes import ROOT

SECRET = "a secret of thirty-two characters"
MODES = {
    "jwt": f'[auth]\nmode = "jwt"\n[auth.jwt]\nsecret = "{SECRET}"\nleeway_s = 0\n',
    "custom": '[auth]\nmode = "custom"\nviewer = "tests.integration.graphql.users:viewer"\nrecheck_s = 0.2\n',
}
CHANGE = re.compile(r'"change":"\w+"')  # moves with other jobs
MEMORY = re.compile(r'"memoryBytes": ?[0-9.]+')
SDL = (ROOT / "gql" / "schema.graphql").read_text("utf-8")
MARK = "c0nfidential"
REFUSALS = (
    "NOT_AUTHENTICATED",
    "NOT_ALLOWED",
    "closed 4403",
    "METHOD_NOT_ALLOWED",
    "NOT_ACCEPTABLE",
    "not allowed when using GET",
)
AS_QUERY = "Cannot return null for non-nullable field Subscription."  # Strawberry's router, to one without a stream


def served(folder: Path) -> tuple[Any, str]:
    return create_app(load(folder)), SDL


def mounted(folder: Path) -> tuple[Any, str]:
    onward = Onward.from_settings(folder)
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    return app, SDL


def merged(folder: Path) -> tuple[Any, str]:
    """Mount a schema of the application's own, of which Onward's fields are a part."""
    onward = Onward.from_settings(folder)
    app, schema = FastAPI(lifespan=onward.lifespan), schema_of(onward)
    app.mount("/graphql", onward.graphql_with(schema))
    return app, schema.as_str()


def routed(folder: Path) -> tuple[Any, str]:
    """Answer by such a schema with Strawberry's own router, which keeps what it has validated once."""
    onward = Onward.from_settings(folder)
    app, schema = FastAPI(lifespan=onward.lifespan), schema_of(onward, ParserCache, ValidationCache)
    app.include_router(GraphQLRouter(schema, context_getter=onward.context), prefix="/graphql")
    return app, schema.as_str()


def schema_of(onward: Onward, *extensions: type[SchemaExtension]) -> strawberry.Schema:
    query, mutation, subscription = (
        strawberry.type(type(name, (getattr(onward, name),), {})) for name in ("Query", "Mutation", "Subscription")
    )
    return strawberry.Schema(query, mutation, subscription, extensions=extensions)


FORMS: MappingProxyType[str, Callable[[Path], tuple[Any, str]]] = MappingProxyType(
    {form.__name__: form for form in (served, mounted, merged, routed)}
)


@dataclass(frozen=True)
class Door:
    """One form of the API in one mode of authentication."""

    api: Api
    mode: str
    sdl: str
    nesting: int  # of what is asked for

    def header(self, subject: str, *roles: str, lasts_s: float = 600) -> dict[str, str]:
        """Return the header by which a viewer calls; a token has an end."""
        if self.mode == "custom":
            return SESSIONS.open(Viewer(subject, roles))
        claims = {"sub": subject, "exp": time.time() + lasts_s, "roles": roles}
        return {"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}

    def payload(self, header: dict[str, str]) -> dict[str, str]:
        """Return the payload of connection_init that goes with a header."""
        return {"Authorization": header["authorization"]} if "authorization" in header else {}

    async def ask(self, header: dict[str, str], query: str, **variables: Any) -> Any:
        return (await self.api.post({"query": query, "variables": variables}, headers=header)).json()


@asynccontextmanager
async def opened(form: str, mode: str, folder: Path) -> AsyncIterator[Door]:
    application.write(folder, MODES[mode])
    app, sdl = FORMS[form](folder)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1") as http,
    ):
        yield Door(Api(http, app), mode, sdl, 1 if form == "routed" else 3)  # which validates each time


EACH_FORM = [*zip(FORMS, ("jwt", "custom") * len(FORMS), strict=False)]
ALL = [
    pytest.param((form, mode), marks=() if (form, mode) in EACH_FORM else pytest.mark.long, id=f"{form}-{mode}")
    for form in FORMS
    for mode in MODES
]


@pytest.fixture(params=ALL)
async def empty_door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Door]:
    form, mode = request.param
    async with opened(form, mode, tmp_path) as door:
        yield door


@pytest.fixture(scope="module", params=EACH_FORM, ids="-".join)
async def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    form, mode = request.param
    async with opened(form, mode, tmp_path_factory.mktemp(form)) as door:
        yield door


Send = Callable[[Door, dict[str, str], Try], Any]


async def by_post(door: Door, header: dict[str, str], one: Try) -> str:
    return (await door.api.post({"query": one.query, "variables": one.variables}, headers=header)).text


async def by_get(door: Door, header: dict[str, str], one: Try) -> str:
    params = {"query": one.query, "variables": json.dumps(one.variables)}
    return (await door.api.http.get("/graphql", params=params, headers=header)).text


async def by_event_stream(door: Door, header: dict[str, str], one: Try) -> str:
    body = {"query": one.query, "variables": one.variables}
    return (await door.api.post(body, headers={**header, **ACCEPT})).text


async def by_socket(door: Door, header: dict[str, str], one: Try) -> str:
    cookie = {name: value for name, value in header.items() if name == "cookie"}
    try:
        async with asgi_socket(door.api.app, "/graphql", cookie) as socket:
            await socket.begin(door.payload(header))
            return json.dumps(await socket.run(one.query, one.variables))
    except Closed as closed:
        return f"closed {closed.code}"


async def by_parts(door: Door, header: dict[str, str], one: Try) -> str:
    """Send it as clients do that take a subscription's events as parts of one answer."""
    body = {"query": one.query, "variables": one.variables}
    accept = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"
    return (await door.api.post(body, headers={**header, "accept": accept})).text


DOORS: dict[str, Send] = {
    "post": by_post,
    "get": by_get,
    "events": by_event_stream,
    "parts": by_parts,
    "socket": by_socket,
}


async def fill(door: Door) -> dict[str, str]:
    """Have ada do all that leaves something behind, and return the ids of it."""
    ada = door.header("ada")
    ids: dict[str, str] = {}
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for key, name, given in (
        ("done", "processItem", {"item": MARK}),
        ("scheduled", "processItem", {"item": MARK, "runAt": tomorrow}),
        ("user", "registerUser", {"username": MARK, "email": f"{MARK}@example.com"}),
    ):
        fields = "job { id status } errors { message }" + (" user { id }" if name == "registerUser" else "")
        type_ = f"{name[0].upper()}{name[1:]}Input!"
        if key == "user" and name not in door.sdl:
            ids[key] = ids["done"]
            continue
        answer = await door.ask(ada, f"mutation($i: {type_}) {{ {name}(input: $i) {{ {fields} }} }}", i=given)
        payload = answer["data"][name]
        assert payload["job"], answer
        ids[key] = payload[key if key == "user" else "job"]["id"]
    look = "{ jobs { nodes { done status } } }"
    async with asyncio.timeout(30):
        while not all(job["done"] or job["status"] == "SCHEDULED" for job in await jobs_of(door, ada, look)):
            await asyncio.sleep(0.01)
    return ids


async def jobs_of(door: Door, header: dict[str, str], query: str = "{ jobs { nodes { id } } }") -> Any:
    return (await door.ask(header, query))["data"]["jobs"]["nodes"]


async def answers(
    door: Door, header: dict[str, str], kind: str, ids: dict[str, str], doors: Collection[str] = tuple(DOORS)
) -> dict[str, str]:
    """Return the answers to all operations of a kind, by each door; without memory, which changes by itself."""
    found = {}
    for number, one in enumerate(operations(door.sdl, ids, door.nesting)):
        for name in doors if one.kind == kind else ():
            found[f"{number} {one.field} {name}"] = MEMORY.sub("", await DOORS[name](door, header, one))
    return found


async def test_nobody_sees_or_does_anything(empty_door: Door) -> None:
    """The answers to nobody are those of an empty ledger, and change nothing."""
    door = empty_door
    empty = await answers(door, {}, "query", {"done": "job_0", "scheduled": "job_0", "user": "user_0"})
    ids = await fill(door)
    admin = door.header("root", "admin")
    whole = await answers(door, admin, "query", ids, ["post"])
    assert await answers(door, {}, "query", ids) == empty
    assert any(MARK in text for text in whole.values())
    assert not any("errors" in text for text in whole.values()), whole
    for kind in ("mutation", "subscription"):
        for name, text in (await answers(door, {}, kind, ids)).items():
            refused = [*REFUSALS, AS_QUERY] if kind == "subscription" else REFUSALS
            assert any(word in text for word in refused), (name, text)
            assert not any(id_ in text for id_ in ids.values()), (name, text)
    assert await answers(door, admin, "query", ids, ["post"]) == whole


async def test_no_viewer_sees_another_one_s(door: Door) -> None:
    ids = await fill(door)
    ada, bob, admin = door.header("ada"), door.header("bob"), door.header("root", "admin")
    before = await answers(door, admin, "query", ids, ["post"])
    for kind in ("query", "mutation"):
        for name, text in (await answers(door, bob, kind, ids)).items():
            own = kind == "mutation" and name.split()[1] in {"processItem", "sendNotification", "registerUser"}
            assert MARK not in text, (name, text)
            assert own or not any(id_ in text for id_ in ids.values()), (name, text)
    assert not {job["id"] for job in await jobs_of(door, bob)} & set(ids.values())
    assert MARK in str(await answers(door, ada, "query", ids, ["socket"]))
    after = await answers(door, admin, "query", ids, ["post"])
    kept = [[CHANGE.sub("", text) for name, text in found.items() if " job " in name] for found in (before, after)]
    assert kept[0] == kept[1] != []


async def test_a_viewer_s_subscriptions_show_her_own_alone(door: Door) -> None:
    ada, bob = door.header("ada"), door.header("bob")
    process = 'mutation { processItem(input: {item: "x"}) { job { id } } }'
    everything = {"id": "all", "type": "subscribe", "payload": {"query": "subscription { jobsUpdated { id } }"}}
    cookies = [{name: value for name, value in header.items() if name == "cookie"} for header in (ada, bob)]
    async with (
        asgi_socket(door.api.app, "/graphql", cookies[0]) as hers,
        asgi_socket(door.api.app, "/graphql", cookies[1]) as his,
    ):
        for socket, header in ((hers, ada), (his, bob)):
            await socket.begin(door.payload(header))
            assert "data" in (await socket.run("{ viewer { id } }", {}))[0]["payload"]
            await socket.send(everything)
        seen: dict[str, set[str]] = {"ada": set(), "bob": set()}
        made = {"ada": "", "bob": ""}
        async with asyncio.timeout(30):
            while not all(seen.values()):  # a subscription has begun once it sees a job
                for name, header, socket in (("ada", ada, hers), ("bob", bob, his)):
                    made[name] += (await door.ask(header, process))["data"]["processItem"]["job"]["id"] + " "
                    await asyncio.sleep(0.05)
                    while not socket.outgoing.empty():
                        seen[name].add((await socket.receive())["payload"]["data"]["jobsUpdated"]["id"])
        for name, header in (("ada", ada), ("bob", bob)):
            for job_id in seen[name] - set(made[name].split()):  # of an earlier test, which may go on for a while
                mine = await door.ask(header, f'{{ job(id: "{job_id}") {{ id }} }}')
                assert mine["data"]["job"] == {"id": job_id}
        messages = await his.run(
            "subscription($id: ID!) { jobUpdated(id: $id) { id } }", {"id": made["ada"].split()[0]}
        )
        assert "NOT_FOUND" in str(messages)
        assert made["ada"].split()[0] not in str(messages)


async def test_a_foreign_page_does_nothing_in_a_viewer_s_name(door: Door) -> None:
    """A browser sends a viewer's cookies along with the requests of any page."""
    carol = door.header("carol")
    process = 'mutation { processItem(input: {item: "x"}) { job { id } errors { code } } }'
    body = json.dumps({"query": process})
    evil = {"origin": "https://evil.example"}
    found = []
    for kind in (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        for origin in ({}, evil, {"origin": "null"}) if kind != "application/json" else (evil, {"origin": "null"}):
            headers = {**carol, **origin, "content-type": kind}
            found.append((await door.api.http.post("/graphql", content=body, headers=headers)).text)
    for origin in ({}, evil):
        params = {"query": process}
        found.append((await door.api.http.get("/graphql", params=params, headers={**carol, **origin})).text)
    try:
        async with asgi_socket(door.api.app, "/graphql", {**carol, **evil}) as socket:
            await socket.begin(door.payload(carol))
            found.append(json.dumps(await socket.run(process, {})))
    except Closed as closed:
        found.append(f"closed {closed.code}")
    assert not any("job_" in text for text in found), found
    assert await jobs_of(door, carol) == []
    assert "job_" in await by_post(door, carol, Try("mutation", "processItem", process, {}))


async def test_a_subscription_ends_with_its_viewer_s_session(door: Door) -> None:
    dora = door.header("dora", lasts_s=1.5)  # a token that has ended before it is used is refused likewise
    cookie = {name: value for name, value in dora.items() if name == "cookie"}
    async with asgi_socket(door.api.app, "/graphql", cookie) as socket:
        try:
            await socket.begin(door.payload(dora))
            running = asyncio.create_task(socket.run("subscription { jobsUpdated { id } }", {}))
            await asyncio.sleep(0)
            if door.mode == "custom":
                SESSIONS.change(dora, None)
            ended = str(await running)
        except Closed as closed:
            ended = f"closed {closed.code}"
    assert ended == "closed 4403" or "NOT_AUTHENTICATED" in ended
