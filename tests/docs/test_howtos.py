"""The code of the how-tos runs: Python by its own tests, settings by reading them, GraphQL against the schema."""

import asyncio
import hashlib
import importlib
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import graphql
import httpx2
import pytest

from onward.api.authenticators import authenticator
from onward.backends.base import Role
from onward.config.settings import SettingsError, load
from onward.graphql.schema import build
from onward.handlers.base import Handler
from onward.runtime.values import key_limits
from onward.runtime.wiring import run_process
from tests import application
from tests.docs.fences import fences
from tests.integration.graphql.conftest import running
from tests.processes import ROOT, environment, onward, python

DOCS = ROOT / "docs"
SCHEMA = graphql.build_schema((ROOT / "gql" / "schema.graphql").read_text("utf-8"))


def write(page: str, folder: Path) -> list[str]:
    """Write the files of a page to the folder, and return the names of its tests."""
    for fence in fences(DOCS / page):
        if fence.file:
            (folder / fence.file).parent.mkdir(exist_ok=True)
            (folder / fence.file).write_text(fence.text, "utf-8")
    return [fence.file for fence in fences(DOCS / page) if fence.file and fence.file.startswith("test_")]


@pytest.mark.slow
def test_the_tests_on_the_pages_pass(tmp_path: Path) -> None:
    tests = [
        name for page in ("handlers.md", "mutations.md", "fastapi.md", "flows.md") for name in write(page, tmp_path)
    ]
    assert len(tests) >= 7
    run_tests(tmp_path, tests)


def test_the_limits_on_the_page_are_those_of_handlers() -> None:
    found: dict[str, Any] = {}
    for fence in fences(DOCS / "flows.md"):
        if fence.file == "imports.py":
            exec(compile(fence.text, fence.file, "exec"), found)
    rules = key_limits({one.name: one for one in found.values() if isinstance(one, Handler)})
    assert {name: rule and rule.name for name, rule in rules.items()} == {
        "orders.import": "orders.import",
        "crm.update": "crm",
        "crm.call": "crm",
    }


def test_the_mutations_on_the_page_are_in_the_schema() -> None:
    """Each block of GraphQL must be part of the output of `./onward schema`."""
    blocks = {fence.file: fence.text for fence in fences(DOCS / "mutations.md") if fence.file}
    found: dict[str, Any] = {}
    for name in ("parcels", "tickets"):
        module = ModuleType(name)
        sys.modules[name] = module  # pydantic looks names up there
        try:
            exec(compile(blocks[f"{name}.py"], name, "exec"), vars(module))
            found |= {one.name: one for one in vars(module).values() if isinstance(one, Handler)}
        finally:
            del sys.modules[name]
    sdl = build(handlers=found).as_str()
    (shown,) = (fence.text for fence in fences(DOCS / "mutations.md") if fence.language == "graphql")
    parts = re.split(r"\n\n(?=input|type|union)", shown)
    assert len(parts) == 4
    for part in parts:
        assert " ".join(part.split()) in " ".join(sdl.split())
    assert "buyTicket(input: BuyTicketInput!): BuyTicketPayload @deprecated" in sdl
    assert "ticket: Ticket" in sdl


def test_the_flows_on_the_page_are_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations on the page fit the schema of its handlers."""
    tests = write("flows.md", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found: dict[str, Handler] = {}
    for file in sorted(tmp_path.glob("*.py")):
        if file.name not in tests:
            monkeypatch.delitem(sys.modules, file.stem, raising=False)
            module = importlib.import_module(file.stem)
            found |= {one.name: one for one in vars(module).values() if isinstance(one, Handler)}
            monkeypatch.delitem(sys.modules, file.stem)
    assert found
    schema = graphql.build_schema(build(handlers=found).as_str())
    for fence in fences(DOCS / "flows.md"):
        if fence.language == "graphql":
            assert graphql.validate(schema, graphql.parse(fence.text)) == []


@pytest.mark.slow
def test_the_example_with_tables_works(tmp_path: Path) -> None:
    tests = write("tables.md", tmp_path)
    assert load(tmp_path).handlers.lifespan == "visits:lifespan"
    run_tests(tmp_path, tests)


def run_tests(tmp_path: Path, tests: list[str]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:valkey\n")
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env=environment(PYTHONPATH=f"{ROOT}:{tmp_path}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_example_of_a_schedule_is_valid(tmp_path: Path) -> None:
    write("schedule.md", tmp_path)
    assert load(tmp_path).schedule["nightly"].handler == "logging.write"


@pytest.mark.slow
async def test_schedules_are_made_at_run_time_as_on_the_page(tmp_path: Path) -> None:
    write("schedule.md", tmp_path)
    application.write(tmp_path, (tmp_path / "settings.toml").read_text("utf-8"))
    (mutation,) = (fence.text for fence in fences(DOCS / "schedule.md") if fence.language == "graphql")
    (commands,) = (fence.text for fence in fences(DOCS / "schedule.md") if fence.language == "sh")
    async with running(load(tmp_path)) as api:
        payload = (await api.data(mutation))["createSchedule"]
        assert (payload["schedule"]["name"], payload["errors"]) == ("digest-acme", [])
        for line in commands.splitlines():
            outcome = await asyncio.to_thread(onward, *shlex.split(line)[1:], project=tmp_path)
            assert outcome.returncode == 0, outcome
        found = (await api.data("{ system { schedules { name pausedAt } } }"))["system"]["schedules"]
    assert [(one["name"], one["pausedAt"] is None) for one in found] == [
        ("digest-acme", True),
        ("digest-globex", True),
        ("nightly", False),
    ]


def test_the_example_of_queues_is_valid(tmp_path: Path) -> None:
    """The commands and handlers of the example exist, too."""
    write("queues.md", tmp_path)
    application.write(tmp_path, (tmp_path / "settings.toml").read_text("utf-8"))
    assert load(tmp_path).queues["email.*"].rate == "100/m"
    commands = [fence.text for fence in fences(DOCS / "queues.md") if fence.language == "sh"]
    for line in "".join(commands).splitlines():
        outcome = onward(*shlex.split(line)[1:], project=tmp_path)
        assert outcome.returncode == 0, outcome


def test_the_example_of_telemetry_is_valid(tmp_path: Path) -> None:
    write("observability.md", tmp_path)
    telemetry = load(tmp_path).telemetry
    assert (telemetry.metrics, telemetry.traces) == ("127.0.0.1:9464", "http://127.0.0.1:4318")


async def test_the_sessions_on_the_page_of_users_give_viewers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("your-users.md", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.db"))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE sessions (token_sha256 TEXT PRIMARY KEY, user_id INTEGER, is_staff, ends_at)")
        for token, user_id, is_staff, lasts_s in (("a", 42, 0, 60), ("b", 7, 1, 60), ("old", 42, 1, -60)):
            digest = hashlib.sha256(token.encode()).hexdigest()
            shop.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (digest, user_id, is_staff, time.time() + lasts_s))
    async with running(load(tmp_path)) as api:
        found = {}
        for token in ("a", "b", "old", "unknown"):
            answer = await api.post({"query": "{ viewer { id roles } }"}, headers={"cookie": f"session={token}"})
            found[token] = answer.json()["data"]["viewer"]
    del sys.modules["users"]
    nobody: dict[str, Any] = {"id": None, "roles": []}
    assert found == {
        "a": {"id": "42", "roles": []},
        "b": {"id": "7", "roles": ["admin"]},
        "old": nobody,
        "unknown": nobody,
    }


async def test_the_application_on_the_page_of_users_asks_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application.write(tmp_path)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE sessions (token TEXT, user_id INTEGER, role TEXT, ends_at REAL)")
        shop.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?)", [("a", 42, "staff", 2e9), ("old", 42, "staff", 0)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    (text,) = (fence.text for fence in fences(DOCS / "your-users.md") if fence.file == "shop.py")
    shop_module: dict[str, Any] = {}
    exec(compile(text, "shop.py", "exec"), shop_module)
    app = shop_module["app"]
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://shop.example") as http,
    ):
        found = [
            (await http.post("/graphql", json={"query": "{ viewer { id roles } }"}, headers=header)).json()["data"]
            for header in ({"cookie": "session=a"}, {"x-api-key": "a"}, {"cookie": "session=old"}, {})
        ]
    await shop_module["engine"].dispose()
    hers = {"viewer": {"id": "42", "roles": ["staff"]}}
    assert found == [hers, hers, *[{"viewer": {"id": None, "roles": []}}] * 2]


def test_the_claims_on_the_page_of_users_lack_a_key_file_and_nothing_else(tmp_path: Path) -> None:
    (toml,) = (fence.text for fence in fences(DOCS / "your-users.md") if fence.language == "toml" and not fence.file)
    (tmp_path / "settings.toml").write_text(toml)
    with pytest.raises(SettingsError, match=r"auth\.jwt\.jwks: .*provider\.json cannot be read"):
        authenticator(load(tmp_path))


def test_the_settings_for_production_lack_a_key_and_nothing_else(tmp_path: Path) -> None:
    (toml,) = (fence.text for fence in fences(ROOT / "SECURITY.md") if fence.language == "toml")
    application.write(tmp_path, toml)
    with pytest.raises(SettingsError, match=r"exactly one of jwt\.secret, jwt\.public_key and jwt\.jwks"):
        load(tmp_path)


async def test_the_programs_that_enqueue_work(
    tmp_path: Path, sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process serves meanwhile; the programs run no job themselves."""
    write("enqueue.md", tmp_path)
    order = (tmp_path / "order.py").read_text("utf-8")
    (tmp_path / "order.py").write_text(
        order.replace("/var/onward.db", sqlite_ledger.removeprefix("sqlite://")), "utf-8"
    )
    monkeypatch.setenv("ONWARD_DATABASE__URL", sqlite_ledger)
    monkeypatch.syspath_prepend(tmp_path)
    commands = [fence.text for fence in fences(DOCS / "enqueue.md") if fence.language == "sh"]
    async with run_process(load(tmp_path), Role.ACCEPT):
        for program in ("send.py", "order.py", "send_plainly.py"):
            ran = await asyncio.to_thread(python, program, folder=tmp_path, ONWARD_DATABASE__URL=sqlite_ledger)
            assert (ran.returncode, ran.stdout) == (0, "A-17 is confirmed\n"), ran
        for line in "".join(commands).splitlines():
            words = shlex.split(line)[1:]
            sent = await asyncio.to_thread(onward, *words, project=tmp_path, ONWARD_DATABASE__URL=sqlite_ledger)
            assert sent.returncode == 0, sent
    monkeypatch.delitem(sys.modules, "orders")


def test_every_block_of_code_is_run_somewhere() -> None:
    """A block of the language for the reader's own machine is an exception."""
    pages = {
        "tour.md",
        "tutorial.md",
        "backup.md",
        "handlers.md",
        "flows.md",
        "mutations.md",
        "schedule.md",
        "queues.md",
        "frontend.md",
        "observability.md",
        "tables.md",
        "enqueue.md",
        "your-users.md",
    }
    pages |= {
        "testing-your-jobs.md",
        "adding-a-backend.md",
        "api.md",
        "flows.md",
        "new-project.md",
        "strawberry.md",
    }  # by tests of their own
    pages |= {
        "from-celery.md",
        "from-dramatiq.md",
        "from-backgroundtasks.md",
        "from-taskiq.md",
        "fastapi.md",
    }  # by theirs
    looked_at = {"sh", "shell", "python", "toml", "graphql"}
    loose = [
        f"{page.name}:{fence.line}"
        for page in DOCS.glob("*.md")
        for fence in fences(page)
        if fence.language in looked_at and page.name not in pages
    ]
    assert loose == []
