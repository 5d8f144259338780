"""The real application over a real SQLite ledger: in this process, or behind a real server."""

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette

from onward.api.app import create_app
from onward.api.server import configured
from onward.config.settings import Settings, load
from tests import application

WAIT_TIMEOUT_S = 20.0
MODULES = {"modules": ["tests.integration.graphql.project_types"]}


def settings_in(folder: Path, **overrides: Any) -> Settings:
    application.write(folder)
    return load(folder, **application.tables({**overrides, "gql": {**MODULES, **overrides.get("gql", {})}}))


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Wait until the condition is true, and return its value."""
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        while not (found := await condition()):
            await asyncio.sleep(0.01)
    return found


@dataclass(frozen=True)
class Api:
    """A client of the application."""

    http: httpx2.AsyncClient
    app: Starlette

    async def post(self, body: Any = None, **options: Any) -> httpx2.Response:
        if isinstance(body, str | bytes):
            headers = {"content-type": "application/json", **options.pop("headers", {})}
            return await self.http.post("/graphql", content=body, headers=headers, **options)
        return await self.http.post("/graphql", json=body, **options)

    async def data(self, query: str, **variables: Any) -> Any:
        """Return the data of an operation that succeeds."""
        response = await self.post({"query": query, "variables": variables})
        found = response.json()
        assert "errors" not in found, found
        return found["data"]

    async def errors(self, query: str, **variables: Any) -> list[Any]:
        """Return the errors of an operation that fails."""
        errors = (await self.post({"query": query, "variables": variables})).json()["errors"]
        assert isinstance(errors, list)
        return errors

    async def mutate(self, name: str, fields: str = "job { id status version } replayed", **input: Any) -> Any:
        """Return the payload of a mutation, its errors included."""
        type_ = f"{name[0].upper()}{name[1:]}Input!"
        query = f"mutation($input: {type_}) {{ {name}(input: $input) {{ {fields} errors {{ code message path }} }} }}"
        return (await self.data(query, input=input))[name]

    async def ends(self, job_id: str) -> str:
        """Wait for the job's end and return its terminal status."""

        async def done() -> Any:
            job = (await self.data("query($id: ID!) { job(id: $id) { status done } }", id=job_id))["job"]
            return job["status"] if job["done"] else None

        return str(await until(done))


@asynccontextmanager
async def running(settings: Settings, **options: Any) -> AsyncIterator[Api]:
    app = create_app(settings, **options)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000") as client,
    ):
        yield Api(client, app)


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with running(settings_in(tmp_path_factory.mktemp("onward"))) as api:
        yield api


@contextmanager
def serving(settings: Settings, **options: Any) -> Iterator[str]:
    """Run a real server in a thread and return its address, as in 127.0.0.1:54321."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(configured(create_app(settings, **options), settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.01)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(WAIT_TIMEOUT_S)
        listener.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(settings_in(tmp_path_factory.mktemp("onward"))) as address:
        yield address


@pytest.fixture
def name() -> str:
    """Return a unique username."""
    return f"ada-{uuid.uuid4().hex[:12]}"
