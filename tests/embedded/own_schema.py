"""An application with a Strawberry schema of its own, of which Onward's fields are a part."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import jwt
import strawberry
from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient
from strawberry import relay
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import FieldExtension, SchemaExtension
from strawberry.fastapi import GraphQLRouter
from strawberry.permission import BasePermission

from onward import Onward

MODULES = '["tests.integration.graphql.declared_handlers", "tests.embedded.failing"]'
SECRET = "a secret of thirty-two characters"
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # of secret parameters
AUTH = f'[auth]\nmode = "jwt"\n[auth.jwt]\nsecret = "{SECRET}"\n'
PROTOCOL = "graphql-transport-ws"


def bearer(subject: str, roles: Iterable[str] = (), lasts_s: float = 600) -> str:
    """Return the Authorization header of a viewer."""
    claims = {"sub": subject, "roles": list(roles), "exp": time.time() + lasts_s}
    return f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"


class Refuses(BasePermission):
    message = "Not you."

    def has_permission(self, source: Any, info: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        return False


class Louder(FieldExtension):
    async def resolve_async(self, next_: Any, source: Any, info: Any, **kwargs: Any) -> Any:
        return str(await next_(source, info, **kwargs)).upper()


class Marks(SchemaExtension):
    def get_results(self) -> dict[str, Any]:
        return {"marked": True}


@strawberry.type
class Fruit(relay.Node):
    id: relay.NodeID[int]
    name: str

    @classmethod
    def resolve_nodes(cls, *, info: Any, node_ids: Iterable[str], required: bool = False) -> list[Fruit]:  # noqa: ARG003
        return [cls(id=int(id_), name=f"fruit {id_}") for id_ in node_ids]


async def lengths(words: list[str]) -> list[int]:
    return [len(word) for word in words]


@strawberry.type
class Mine:
    fruit: Fruit = strawberry.field(resolver=lambda: Fruit(id=1, name="apple"))

    @relay.connection(relay.ListConnection[Fruit])  # type: ignore[untyped-decorator]
    def fruits(self) -> list[Fruit]:
        return [Fruit(id=number, name=f"fruit {number}") for number in range(3)]

    @strawberry.field(permission_classes=[Refuses])  # type: ignore[untyped-decorator]
    def refused(self) -> str | None:
        return "seen"

    @strawberry.field(extensions=[Louder()])  # type: ignore[untyped-decorator]
    async def hello(self, info: strawberry.Info) -> str:
        return f"hello {info.context['greets']}" if isinstance(info.context, dict) else "hello"

    @strawberry.field
    async def length(self, info: strawberry.Info, word: str) -> int:
        return await cast("DataLoader[str, int]", info.context["lengths"]).load(word)

    @strawberry.field
    def echo(self, at: datetime) -> datetime:
        return at


@strawberry.type
class Ticks:
    @strawberry.subscription
    async def ticks(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number


@dataclass
class Application:
    """The application and its parts."""

    onward: Onward
    schema: strawberry.Schema
    app: FastAPI = field(default_factory=FastAPI)


def project(folder: Path, more: str = AUTH, modules: str = MODULES) -> Path:
    """Write a project with every kind of handler, and return its folder."""
    text = f'{more}\n[secrets]\nkeys = ["{KEY}"]\n[handlers]\nmodules = {modules}\n'
    (folder / "settings.toml").write_text(f'{text}[database]\nurl = "sqlite:///{folder}/onward.db"\n')
    return folder


def schema_of(onward: Onward, **options: Any) -> strawberry.Schema:
    """Build the schema, with fields of both."""

    @strawberry.type
    class Query(onward.Query, Mine):  # type: ignore[name-defined, misc]
        pass

    @strawberry.type
    class Mutation(onward.Mutation):  # type: ignore[name-defined, misc]
        pass

    @strawberry.type
    class Subscription(onward.Subscription, Ticks):  # type: ignore[name-defined, misc]
        pass

    return strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription, **options)


def application(folder: Path, *, prefix: str = "") -> Application:
    """Serve one schema by every server: Strawberry's for FastAPI and ASGI, and Onward's own."""
    onward = Onward.from_settings(project(folder), type_prefix=prefix)
    schema = schema_of(onward)
    app = FastAPI(lifespan=onward.lifespan)

    async def mixed(entrance: Any = Depends(onward.context)) -> dict[str, Any]:  # noqa: B008 - FastAPI's way
        return {"onward": entrance, "greets": "you", "lengths": DataLoader(lengths)}

    class Asgi(GraphQL):
        async def get_context(self, request: Any, response: Any) -> Any:  # noqa: ARG002
            return await onward.context(cast("HTTPConnection", request))

    app.include_router(GraphQLRouter(schema, context_getter=onward.context), prefix="/theirs")
    app.include_router(GraphQLRouter(schema, context_getter=mixed), prefix="/mixed")
    app.include_router(GraphQLRouter(schema), prefix="/without")
    marked = GraphQLRouter(schema_of(onward, extensions=[Marks]), context_getter=onward.context)
    app.include_router(marked, prefix="/marked")
    app.mount("/asgi", Asgi(schema))
    app.mount("/ours", onward.graphql_with(schema))
    return Application(onward, schema, app)


@contextmanager
def running(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


def ask(client: TestClient, path: str, query: str, token: str | None = None, **variables: Any) -> dict[str, Any]:
    """Return the answer to an operation."""
    headers = {"authorization": token} if token else {}
    found: dict[str, Any] = client.post(path, json={"query": query, "variables": variables}, headers=headers).json()
    return found


def follow(
    client: TestClient, path: str, query: str, init: dict[str, Any] | None = None, **variables: Any
) -> list[Any]:
    """Return the payloads of a subscription until its end; the last one may be a list of errors."""
    return list(_payloads(client, path, query, init or {}, variables))


def first(client: TestClient, path: str, query: str, init: dict[str, Any], **variables: Any) -> Any:
    """Return the first payload of a subscription, and end it."""
    with closing(_payloads(client, path, query, init, variables)) as payloads:
        return next(payloads)


def _payloads(
    client: TestClient, path: str, query: str, init: dict[str, Any], variables: dict[str, Any]
) -> Generator[Any, None, None]:
    with client.websocket_connect(path, subprotocols=[PROTOCOL]) as socket:
        socket.send_json({"type": "connection_init", "payload": init})
        assert socket.receive_json()["type"] == "connection_ack"
        socket.send_json({"type": "subscribe", "id": "1", "payload": {"query": query, "variables": variables}})
        while (message := socket.receive_json())["type"] != "complete":
            yield message["payload"]
            if message["type"] == "error":
                break
