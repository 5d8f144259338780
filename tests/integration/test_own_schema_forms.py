"""The forms of a Strawberry schema of one's own that Onward's fields come into: names, scalars, contexts, servers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NewType

import pytest
import strawberry
from starlette.requests import HTTPConnection
from strawberry import relay
from strawberry.extensions import SchemaExtension
from strawberry.fastapi import BaseContext
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter
from strawberry.tools import merge_types
from strawberry.types.base import StrawberryObjectDefinition

from onward import Onward, Viewer
from onward.config.settings import SettingsError
from onward.graphql.base import SchemaError
from onward.graphql.context import Context, of
from onward.graphql.guard import Guard
from onward.graphql.queries import job as job_of
from onward.graphql.schema import build, served
from onward.graphql.send import send
from onward.graphql.viewer import NOBODY
from onward.testing.waiting import until
from tests.embedded.failing import INTERNAL
from tests.embedded.own_schema import AUTH, Fruit, Mine, bearer, project, schema_of

pytestmark = pytest.mark.anyio
LONG_S = 30.0
FEW = '["tests.embedded.failing"]'
IMMEDIATE = 'backend = "immediate"\n[backends.immediate]\nclass = "onward.testing.backends:Immediate"\n'
COUNT = 'mutation { countWords(input: {text: "one three"}) { job { id status } errors { code message } } }'
JOB = "query ($id: ID!) { job(id: $id) { status createdAt change output { ... on Figures { words } } } }"


@pytest.fixture(scope="module")
async def onward(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Onward]:
    """A running Onward, whose jobs run as they are delivered."""
    onward = Onward.from_settings(project(tmp_path_factory.mktemp("forms"), IMMEDIATE + AUTH))
    async with onward.lifespan():
        yield onward


@pytest.fixture(scope="module")
def schema(onward: Onward) -> strawberry.Schema:
    """The schema with fields of both, without options."""
    return schema_of(onward)


def connection(token: str | None, **scope: Any) -> HTTPConnection:
    headers = [(b"host", b"localhost"), *([(b"authorization", token.encode())] if token else [])]
    return HTTPConnection({"type": "http", "headers": headers, "client": ("127.0.0.1", 1), **scope})


async def run(onward: Onward, schema: strawberry.Schema, query: str, token: str | None = None, **given: Any) -> Any:
    """Execute an operation by Strawberry's own executor."""
    context = await onward.context(connection(token or bearer("ada")))
    return await schema.execute(query, variable_values=given, context_value=context)


async def counted(onward: Onward, schema: strawberry.Schema, query: str = COUNT) -> str:
    """Return the id of a job that is over when its mutation has answered."""
    answer = await run(onward, schema, query)
    assert answer.errors is None
    (payload,) = answer.data.values()
    assert payload["errors"] == []
    return str(payload["job"]["id"])


async def test_jobs_are_delivered_before_the_answer(onward: Onward, schema: strawberry.Schema) -> None:
    found = await run(onward, schema, JOB, id=await counted(onward, schema))
    assert found.data["job"]["status"] == "SUCCEEDED"
    assert found.data["job"]["output"] == {"words": 2}


async def test_times_are_those_of_the_schema_s_own_scalar(onward: Onward, schema: strawberry.Schema) -> None:
    created = (await run(onward, schema, JOB, id=await counted(onward, schema))).data["job"]["createdAt"]
    assert datetime.fromisoformat(created).tzinfo is not None
    assert (await run(onward, schema, '{ echo(at: "2030-01-01T00:00:00") }')).data == {"echo": "2030-01-01T00:00:00"}
    at = NewType("at", datetime)
    stamp = strawberry.scalar(
        name="DateTime", serialize=lambda value: f"<{value:%Y}>", parse_value=datetime.fromisoformat
    )
    own = schema_of(onward, config=StrawberryConfig(scalar_map={datetime: stamp, at: stamp}))
    found = await run(onward, own, JOB, id=await counted(onward, own))
    assert found.data["job"]["createdAt"] == f"<{datetime.now(UTC):%Y}>"


@pytest.mark.parametrize(
    "query",
    [
        'mutation { countWords(input: {text: "x", runAt: "2030-01-01T00:00:00"}) { job { id } errors { code } } }',
        '{ jobs(filter: {createdAfter: "2030-01-01T00:00:00"}) { nodes { id } } }',
    ],
)
async def test_a_time_without_a_zone_is_refused(onward: Onward, schema: strawberry.Schema, query: str) -> None:
    (error,) = (await run(onward, schema, query)).errors
    assert error.extensions == {"code": "INVALID"}
    assert "time zone" in error.message


async def test_a_scalar_of_the_schema_s_own_shows_results(onward: Onward) -> None:
    shown = strawberry.scalar(name="JSON", serialize=lambda value: f"json {value}", parse_value=lambda value: value)
    schema = schema_of(onward, config=StrawberryConfig(scalar_map={JSON: shown}))
    job_id = await counted(onward, schema)
    found = await run(onward, schema, "query ($id: ID!) { job(id: $id) { result } }", id=job_id)
    assert found.data["job"]["result"].startswith("json {")


class Loud(NameConverter):
    def get_graphql_name(self, obj: Any) -> str:
        return f"{super().get_graphql_name(obj)}_"


def by_item(source: Any, name: str) -> Any:
    return source[name] if type(source).__module__.startswith("onward.") else getattr(source, name)


@pytest.mark.parametrize(
    ("config", "mark"),
    [
        (
            StrawberryConfig(
                auto_camel_case=False, default_resolver=by_item, info_class=type("I", (strawberry.Info,), {})
            ),
            "",
        ),
        (StrawberryConfig(name_converter=Loud(), default_resolver=by_item), "_"),
    ],
    ids=["as in Python", "by a converter"],
)
async def test_names_and_resolvers_are_the_contract_s_whatever_the_schema_s_are(
    onward: Onward, config: StrawberryConfig, mark: str
) -> None:
    """A converter that renames every field renames those of Onward, too, and their inputs are read all the same."""

    def marked(text: str) -> str:
        return text.replace("~", mark)

    schema = schema_of(onward, config=config)
    order = """mutation { shopOrder~(input~: {
      order~: {items~: [{sku~: "pen", unitPrice~: "1.20"}], address~: {street~: "Main"}}, how~: air,
      idempotencyKey~: "k"
    }) { job~ { id~ maxAttempts~ } errors~ { code~ path~ } } }"""
    answer = await run(onward, schema, marked(order))
    assert answer.errors is None
    payload = answer.data[marked("shopOrder~")]
    assert payload[marked("errors~")] == []
    job = payload[marked("job~")]
    found = await run(
        onward,
        schema,
        marked("query ($id: ID!) { job~(id~: $id) { runAt~ output~ { ... on Receipt { items~ { unitPrice~ } } } } }"),
        id=job[marked("id~")],
    )
    assert found.errors is None
    assert found.data[marked("job~")][marked("output~")] == {marked("items~"): [{marked("unitPrice~"): "1.20"}]}
    cancel = await run(onward, schema, marked('mutation { cancelJob~(input~: {id~: "job_1"}) { errors~ { code~ } } }'))
    assert cancel.data == {marked("cancelJob~"): {marked("errors~"): [{marked("code~"): "NOT_FOUND"}]}}


class Status(Enum):
    HIRED = "hired"


def own_type(name: str) -> Any:
    """Return a type of a name that the library has, and that an application may well have."""
    if name == "JobStatus":
        return strawberry.enum(Status, name=name)
    cls = type(name, (), {"__annotations__": {"own": int}, "own": 1})
    return strawberry.input(cls) if name.endswith("Input") else strawberry.type(cls)


def query_with(name: str) -> type:
    """Return a Query that has the type of this name in a field, or as an argument."""
    type_ = own_type(name)

    def plain() -> Any: ...
    def given(given: Any = None) -> Any: ...

    plain.__annotations__ = {"return": type_ | None}
    given.__annotations__ = {"given": type_ | None, "return": int | None}
    field = strawberry.field(resolver=given if name.endswith("Input") else plain, name=f"own{name}")
    return strawberry.type(type(f"Own{name}", (), {f"own_{name}": field}))


TAKEN = ("Job", "Viewer", "System", "UserError", "Progress", "Receipt", "CancelJobInput", "JobStatus")


@pytest.mark.parametrize("name", TAKEN)
async def test_two_types_of_one_name_are_refused_with_the_way_out(onward: Onward, name: str) -> None:
    mine = query_with(name)
    for bases in ((onward.Query, mine), (mine, onward.Query)):
        with pytest.raises(Exception, match=f'two types named {name}: Onward\'s, and .*type_prefix="Onward"'):
            strawberry.Schema(query=merge_types("Query", bases), mutation=onward.Mutation)


async def test_a_prefix_lets_all_of_them_in(tmp_path: Path) -> None:
    prefixed = Onward.from_settings(project(tmp_path, IMMEDIATE + AUTH), type_prefix="Onward")
    query = merge_types("Query", (prefixed.Query, *map(query_with, TAKEN)))
    schema = strawberry.Schema(query=query, mutation=prefixed.Mutation)
    names = set(schema._schema.type_map)
    assert {*TAKEN, *(f"Onward{name}" for name in TAKEN), "OnwardDuration", "PageInfo", "Node", "DateTime"} <= names
    async with prefixed.lifespan():
        found = await run(prefixed, schema, JOB.replace("Figures", "OnwardFigures"), id=await counted(prefixed, schema))
        assert found.data["job"]["output"] == {"words": 2}


def test_a_prefix_that_begins_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="type_prefix: '1-' begins no name"):
        _ = Onward.from_settings(project(tmp_path, AUTH, FEW), type_prefix="1-").Query


@strawberry.type
class HasViewer:
    @strawberry.field
    def viewer(self) -> str:
        return "mine"


async def test_a_field_that_would_be_hidden_is_refused_and_one_in_front_hides(onward: Onward) -> None:
    with pytest.raises(SchemaError, match=r"HasViewer has a field viewer, which that of onward\.Query would hide"):

        class Hidden(onward.Query, HasViewer):  # type: ignore[name-defined, misc]
            pass

    @strawberry.type
    class Query(HasViewer, onward.Query):  # type: ignore[name-defined, misc]
        pass

    schema = strawberry.Schema(query=Query)
    assert (await run(onward, schema, "{ viewer system { backend } }")).data == {
        "viewer": "mine",
        "system": {"backend": "immediate"},
    }


async def test_relay_types_share_their_node_and_page_info(onward: Onward, schema: strawberry.Schema) -> None:
    job_id = await counted(onward, schema)
    answer = await run(
        onward,
        schema,
        """query ($id: ID!) {
          fruit { id } fruits(first: 1) { edges { node { name } } pageInfo { hasNextPage } }
          jobs(first: 1) { pageInfo { hasNextPage } }
          node(id: $id) { id ... on Job { status } }
        }""",
        id=job_id,
    )
    assert answer.errors is None
    assert relay.GlobalID.from_id(answer.data["fruit"]["id"]) == relay.GlobalID("Fruit", "1")
    assert answer.data["fruits"] == {"edges": [{"node": {"name": "fruit 0"}}], "pageInfo": {"hasNextPage": True}}
    assert answer.data["node"] == {"id": job_id, "status": "SUCCEEDED"}
    # A type of one's own is not found by Onward's `node`: nothing says who may see it.
    found = await run(onward, schema, "query ($id: ID!) { node(id: $id) { id } }", id=answer.data["fruit"]["id"])
    assert found.data == {"node": None}


async def test_a_node_field_of_ones_own_comes_in_front(onward: Onward) -> None:
    @strawberry.type
    class Query(onward.Query):  # type: ignore[name-defined, misc]
        node: relay.Node = relay.node()
        fruit: Fruit = strawberry.field(resolver=lambda: Fruit(id=1, name="apple"))

    schema = strawberry.Schema(query=Query)
    id_ = str(relay.GlobalID("Fruit", "7"))
    found = await run(onward, schema, "query ($id: ID!) { node(id: $id) { id ... on Fruit { name } } }", id=id_)
    assert found.data == {"node": {"id": id_, "name": "fruit 7"}}


async def test_internal_errors_show_nothing(onward: Onward, schema: strawberry.Schema) -> None:
    answer = await run(onward, schema, "mutation { brokenGuard(input: {}) { job { id } errors { code } } }")
    (error,) = answer.errors
    assert INTERNAL not in str(error)
    assert error.extensions["code"] == "INTERNAL"
    assert error.original_error is None or INTERNAL not in str(error.original_error)


class Holds(BaseContext):
    def __init__(self, entrance: Any) -> None:
        super().__init__()
        self.onward = entrance


@pytest.mark.parametrize(
    "made", [lambda one: one, lambda one: {"onward": one}, Holds, lambda one: SimpleNamespace(onward=one)]
)
async def test_the_context_may_be_anything_that_holds_onward(
    onward: Onward, schema: strawberry.Schema, made: Callable[[Any], Any]
) -> None:
    context = made(await onward.context(connection(bearer("ada", ["x"]))))
    answer = await schema.execute("{ viewer { id roles } }", context_value=context)
    assert answer.data == {"viewer": {"id": "ada", "roles": ["x"]}}


@pytest.mark.parametrize("context", [None, {}, SimpleNamespace(), {"onward": "no"}])
async def test_a_context_without_onward_says_what_to_add(schema: strawberry.Schema, context: Any) -> None:
    answer: Any = await schema.execute("{ viewer { id } }", context_value=context)
    assert "context_getter=onward.context" in answer.errors[0].message
    assert answer.errors[0].extensions == {"code": "NO_CONTEXT"}


async def test_before_the_lifespan_the_context_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"lifespan=onward\.lifespan"):
        await Onward.from_settings(project(tmp_path, AUTH, FEW)).context(connection(None))


async def test_a_wrong_token_is_an_error_of_each_field_of_onward_alone(
    onward: Onward, schema: strawberry.Schema
) -> None:
    answer = await run(onward, schema, "{ hello viewer { id } }", token="Bearer nonsense")
    (error,) = answer.errors
    assert error.path == ["viewer"]
    assert error.extensions == {"code": "NOT_AUTHENTICATED"}


async def test_where_everyone_is_an_admin_only_this_machine_is_answered(tmp_path: Path) -> None:
    onward = Onward.from_settings(project(tmp_path, IMMEDIATE, FEW))
    schema = schema_of(onward)
    async with onward.lifespan():
        for scope in (
            {"client": ("192.0.2.7", 1)},
            {"headers": [(b"host", b"evil.example")]},
            {"headers": [(b"host", b"localhost"), (b"origin", b"https://evil.example")]},
        ):
            entrance = await onward.context(connection(None, **scope))
            answer: Any = await schema.execute("{ viewer { roles } }", context_value=entrance)
            assert answer.errors[0].extensions["code"] in {"NOT_ALLOWED", "CROSS_SITE"}
        entrance = await onward.context(connection(None))
        answer = await schema.execute("{ viewer { roles } }", context_value=entrance)
        assert answer.data == {"viewer": {"roles": ["admin"]}}


def closing(_connection: HTTPConnection) -> Viewer:
    return Viewer("ada", until=time.time() + 0.5)


async def test_a_subscription_ends_with_the_session(tmp_path: Path) -> None:
    onward = Onward.from_settings(project(tmp_path, IMMEDIATE, FEW), viewer=closing)
    schema = schema_of(onward)
    async with onward.lifespan():
        entrance = await onward.context(connection(None))
        stream: Any = await schema.subscribe("subscription { jobsUpdated { id } }", context_value=entrance)
        answers = [answer async for answer in stream]
        assert [answer.errors[0].extensions for answer in answers] == [{"code": "NOT_AUTHENTICATED"}]
        answer = await schema.execute("{ viewer { id } }", context_value=entrance)
        assert answer.errors is not None
        assert answer.errors[0].extensions == {"code": "NOT_AUTHENTICATED"}


async def test_subscriptions_of_a_connection_and_connections_with_one_are_bounded(tmp_path: Path) -> None:
    limits = "[gql.limits]\nsubscriptions = 2\nstreams = 2\n"
    onward = Onward.from_settings(project(tmp_path, f"{IMMEDIATE}\n{limits}", FEW))
    schema = schema_of(onward)

    async def subscribed(entrance: Any) -> str:
        """Subscribe once more, and return the code of the refusal, if it is refused."""
        before = len(feed._all)
        stream: Any = await schema.subscribe("subscription { jobsUpdated { id } }", context_value=entrance)
        upcoming = asyncio.ensure_future(anext(stream))
        opened.append((stream, upcoming))
        await until(lambda: upcoming.done() or len(feed._all) > before)
        return str(upcoming.result().errors[0].extensions["code"]) if upcoming.done() else ""

    opened: list[Any] = []
    async with onward.lifespan():
        feed = onward._open()._changes
        first, second, third = [await onward.context(connection(None)) for _ in range(3)]
        assert [await subscribed(first) for _ in range(3)] == ["", "", "TOO_MANY_OPERATIONS"]
        assert [await subscribed(one) for one in (second, third)] == ["", "TOO_MANY_STREAMS"]
        for stream, upcoming in opened[:2]:  # with its last subscription a connection counts no more
            upcoming.cancel()
            await asyncio.wait([upcoming])
            await stream.aclose()
        assert await subscribed(third) == ""


async def test_the_threads_of_a_function_end_with_the_lifespan_where_a_router_alone_asks_it(tmp_path: Path) -> None:
    threads: list[threading.Thread] = []

    def viewer(_connection: HTTPConnection) -> Viewer:
        threads.append(threading.current_thread())
        return Viewer("ada")

    onward = Onward.from_settings(project(tmp_path, IMMEDIATE, FEW), viewer=viewer)
    schema = schema_of(onward)
    async with onward.lifespan():
        entrance = await onward.context(connection(None))
        answer: Any = await schema.execute("{ viewer { id } }", context_value=entrance)
        assert answer.data == {"viewer": {"id": "ada"}}
    await asyncio.to_thread(threads[0].join, LONG_S)
    assert not threads[0].is_alive()


async def test_a_stop_signal_ends_subscriptions_of_other_servers_views_before_the_lifespan(tmp_path: Path) -> None:
    """A server waits for its open connections first."""
    onward = Onward.from_settings(project(tmp_path, IMMEDIATE, FEW))
    schema = schema_of(onward)
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # the server's own
    try:
        async with onward.lifespan(), asyncio.timeout(LONG_S):
            for stopped in (False, True):
                entrance = await onward.context(connection(None))
                stream: Any = await schema.subscribe("subscription { jobsUpdated { id } }", context_value=entrance)
                upcoming = asyncio.ensure_future(anext(stream))
                if not stopped:
                    await asyncio.sleep(0)
                    os.kill(os.getpid(), signal.SIGTERM)
                assert (await upcoming).errors[0].extensions == {"code": "UNAVAILABLE"}
                assert [answer async for answer in stream] == []
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_subscription_goes_on_from_the_change_of_an_answer(onward: Onward, schema: strawberry.Schema) -> None:
    change = (await run(onward, schema, "{ jobs(first: 1) { change } }")).data["jobs"]["change"]
    job_id = await counted(onward, schema)
    entrance = await onward.context(connection(bearer("ada")))
    missed = "subscription ($change: String!) { jobsUpdated(afterChange: $change) { id status change } }"
    stream: Any = await schema.subscribe(missed, variable_values={"change": change}, context_value=entrance)
    first = (await anext(stream)).data["jobsUpdated"]
    await stream.aclose()
    assert (first["id"], first["status"]) == (job_id, "SUCCEEDED")
    again: Any = await schema.subscribe(missed, variable_values={"change": first["change"]}, context_value=entrance)
    other = await counted(onward, schema)
    assert (await anext(again)).data["jobsUpdated"]["id"] == other, "what the first one had shown comes no second time"
    await again.aclose()


@strawberry.input
class PrintInput:
    text: str
    idempotency_key: str | None = None


def sending(onward: Onward) -> strawberry.Schema:
    """Build a schema with mutations of one's own that accept jobs."""
    error = onward.UserError

    @strawberry.type
    class Payload:
        job: Any = strawberry.field(default=None, graphql_type=onward.Job | None)
        mine: bool = False
        errors: Any = strawberry.field(default_factory=list, graphql_type=list[error])  # type: ignore[valid-type]

    def print_it(info: strawberry.Info, input: PrintInput) -> Any:
        return send(info, "shop.count", input)

    def print_guarded(info: strawberry.Info, input: PrintInput) -> Any:
        return send(info, "shop.count", input, payload=lambda accepted: Payload(job=accepted.job, mine=True))

    async def find(info: strawberry.Info, id: strawberry.ID) -> Any:
        return await job_of(info, id)

    @strawberry.type
    class Own:
        printed: Any = strawberry.mutation(resolver=print_it, graphql_type=onward.JobPayload)
        guarded: Any = strawberry.mutation(resolver=print_guarded, graphql_type=Payload, extensions=[Guard()])

    @strawberry.type
    class Finds:
        found: Any = strawberry.field(resolver=find, graphql_type=onward.Job | None)

    return strawberry.Schema(
        query=merge_types("Query", (Finds, onward.Query)), mutation=merge_types("Mutation", (Own, onward.Mutation))
    )


@pytest.mark.parametrize("name", ["printed", "guarded"])
async def test_a_mutation_of_ones_own_sends_jobs_and_nobody_does(onward: Onward, name: str) -> None:
    schema = sending(onward)
    text = f"mutation ($input: PrintInput!) {{ {name}(input: $input) {{ job {{ id }} errors {{ code path }} }} }}"
    payload = (await run(onward, schema, text, input={"text": "x"})).data[name]
    found = await run(onward, schema, "query ($id: ID!) { found(id: $id) { status } }", id=payload["job"]["id"])
    assert found.data == {"found": {"status": "SUCCEEDED"}}
    wrong = (await run(onward, schema, text, input={"text": "x", "idempotencyKey": ""})).data[name]
    assert wrong == {"job": None, "errors": [{"code": "INVALID", "path": ["idempotencyKey"]}]}
    entrance = await onward.context(connection(None))
    nobody_s = await schema.execute(text, variable_values={"input": {"text": "x"}}, context_value=entrance)
    assert nobody_s.data == {name: {"job": None, "errors": [{"code": "NOT_ALLOWED", "path": None}]}}


@contextmanager
def module_of_mutations() -> Iterator[Any]:
    """Give a module, as `[gql] modules` names one, with a mutation of each kind."""

    @strawberry.type
    class Mutation:
        @strawberry.mutation
        async def plain(self) -> str:
            return "done"

        @strawberry.mutation
        def at_once(self) -> str | None:
            return "done"

    module: Any = __import__("types").ModuleType("mine")
    module.Mutation = Mutation
    yield module


async def test_the_guards_hold_in_our_own_schema_without_our_own_executor(onward: Onward) -> None:
    """The shorter way of our own executor is a matter of speed alone."""
    services = onward._embedding._running().services
    with module_of_mutations() as module:
        schema = build([module], handlers=services.handlers)
    text = """mutation {
      atOnce countWords(input: {text: "x"}) { errors { code } } cancelJob(input: {id: "job_1"}) { errors { code } }
    }"""
    for direct in (False, True):
        if direct:
            served(schema)
        answer = await schema.execute(text, context_value=Context(services, NOBODY))
        assert answer.data == {
            "atOnce": None,
            "countWords": {"errors": [{"code": "NOT_ALLOWED"}]},
            "cancelJob": {"errors": [{"code": "NOT_ALLOWED"}]},
        }
        assert answer.errors is not None
        assert [error.extensions for error in answer.errors] == [{"code": "NOT_AUTHENTICATED"}]


class Timing(SchemaExtension): ...


async def test_what_our_own_server_cannot_execute_is_refused_with_the_way_out(onward: Onward) -> None:
    for options, words in (({"extensions": [Timing]}, "extensions"),):
        with pytest.raises(SchemaError, match=f"{words}, .*context_getter=onward.context"):
            served(schema_of(onward, **options))
    federated = strawberry.federation.Schema(query=onward.Query, mutation=onward.Mutation)
    with pytest.raises(SchemaError, match="federation"):
        served(federated)
    assert (await run(onward, federated, "{ viewer { id } _service { sdl } }")).data["viewer"] == {"id": "ada"}


async def test_the_library_s_context_is_found_in_a_resolver_of_ones_own(onward: Onward) -> None:
    @strawberry.type
    class Own:
        @strawberry.field
        async def me(self, info: strawberry.Info) -> str | None:
            return (await of(info)).viewer.subject

    schema = strawberry.Schema(query=merge_types("Query", (Own, onward.Query)))
    assert (await run(onward, schema, "{ me }")).data == {"me": "ada"}


def test_the_types_are_made_once(onward: Onward) -> None:
    definition: StrawberryObjectDefinition = onward.Query.__strawberry_definition__
    assert onward.Query is onward.Query
    assert {field.graphql_name for field in definition.fields} == {
        *("node", "job", "jobs", "viewer", "system", "workers", "stats", "failures", "batches", "jobCount")
    }
    assert Mine.__name__ == "Mine"
