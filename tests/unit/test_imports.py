"""The modules that really get loaded, which import-linter cannot see."""

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from tests.processes import environment

TESTS = "tests.integration.graphql.declared_handlers, tests.unit.graphql.signatures"
STAGES = {  # each loads what it names besides all that the stages before it have loaded
    "help": "from onward.cli import main; main.program()",
    "jobs": "import onward.cli.terminal, onward.cli.stats, onward.cli.top",
    "worker": "import onward.runtime.wiring, onward.worker.process",
    "handlers": f"import handlers.logging, handlers.steps, {TESTS}",
    "isolated": "import onward.worker.isolated, onward.cli.check",
    "api": "import onward.api.app, onward.api.server",
    "rest": "import onward.supervisor.private_redis, onward.supervisor.supervisor, onward.worker.consumers",
}
CHILD = """
import json, socket, sys, threading
socket.socket.connect = socket.socket.bind = None
loaded = {}
for name, statement in json.loads(sys.argv[1]).items():
    exec(statement)
    assert threading.active_count() == 1, statement
    loaded[name] = [*sys.modules]
print(json.dumps(loaded))
"""


def packages(loaded: Collection[str]) -> set[str]:
    return {name.partition(".")[0] for name in loaded}


def loaded_by(statements: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return the modules that a fresh Python has loaded after each of the statements.

    It fails if one of them connects, listens, or starts a thread.
    """
    command = [sys.executable, "-P", "-c", CHILD, json.dumps(statements)]
    output = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: frozenset(modules) for name, modules in json.loads(output).items()}


@pytest.fixture(scope="module")
def loaded() -> dict[str, frozenset[str]]:
    """The modules after each stage of one process: a second for each test would be spent on the same imports."""
    return loaded_by(STAGES)


def test_help_loads_only_the_library_of_the_command_line(loaded: Mapping[str, frozenset[str]]) -> None:
    assert "onward.config.settings" not in loaded["help"]
    assert not packages(loaded["help"]) & {
        "fastapi",
        "strawberry",
        "sqlalchemy",
        "pydantic",
        "redis",
        "dramatiq",
        "structlog",
    }


def test_a_look_at_the_jobs_loads_nothing_that_runs_them(loaded: Mapping[str, frozenset[str]]) -> None:
    assert not loaded["jobs"] & {
        "onward.jobs.runner",
        "onward.jobs.leases",
        "onward.mail",
        "prometheus_client",
        "graphql",
        "structlog",
    }


def test_a_worker_loads_neither_fastapi_nor_strawberry(loaded: Mapping[str, frozenset[str]]) -> None:
    assert not packages(loaded["worker"]) & {"fastapi", "starlette", "strawberry", "graphql", "uvicorn"}
    assert not {name for name in loaded["worker"] if name.startswith(("onward.api", "onward.graphql"))}


def test_a_handler_that_is_a_mutation_loads_no_graphql(loaded: Mapping[str, frozenset[str]]) -> None:
    """The handlers are the application's and the tests', with all kinds of parameters, results, and companion rows."""
    assert not packages(loaded["handlers"]) & {"fastapi", "strawberry", "graphql", "email_validator"}
    ours = {name for name in loaded["handlers"] if name.startswith(("onward.api", "onward.graphql"))}
    assert ours <= {"onward.graphql", "onward.graphql.viewer"}  # `from onward import Viewer`, a plain value


def test_a_worker_loads_dramatiq_only_for_its_backend(loaded: Mapping[str, frozenset[str]]) -> None:
    """A job whose runner died twice runs in a worker process of its own, under any backend."""
    assert not packages(loaded["isolated"]) & {"aiosmtplib", "dramatiq", "jwt", "psycopg", "redis"}


def test_parts_that_the_default_settings_do_not_use_are_not_loaded(loaded: Mapping[str, frozenset[str]]) -> None:
    """Imports are most of a start: SMTP, tokens, encryption, Redis, PostgreSQL, FastAPI and its models of OpenAPI."""
    assert not packages(loaded["api"]) & {
        "aiosmtplib",
        "alembic",
        "cryptography",
        "dramatiq",
        "fastapi",
        "google",  # with requests, of OpenTelemetry's exporters
        "jwt",
        "opentelemetry",
        "psycopg",
        "redis",
        "requests",
    }


def test_a_server_loads_structlog_for_its_first_line_alone() -> None:
    """A server writes that once it answers; structlog loads Rich where it is installed."""
    found = loaded_by({"api": "import onward.backends.background, onward.runtime.wiring, onward.api.server"})
    assert not packages(found["api"]) & {"rich", "structlog"}


def test_a_sqlite_ledger_works_without_the_dialect_of_postgresql(loaded: Mapping[str, frozenset[str]]) -> None:
    """One condition of an index or one insert of its own would load all that SQLAlchemy has for PostgreSQL."""
    assert "sqlalchemy.dialects.postgresql" not in loaded["api"]


def test_nothing_happens_at_import(loaded: Mapping[str, frozenset[str]]) -> None:
    """The last stage has loaded the parts that no other one loads; none has connected, listened, or begun a thread."""
    assert {"onward.supervisor.private_redis", "onward.worker.consumers", "onward.telemetry"} <= loaded["rest"]


def test_the_package_and_a_handler_s_module_load_little() -> None:
    """Names of the public interface are imported when they are used, so that `import onward` costs nothing."""
    names = "from onward import handler, sequence, JobContext, Retry, Permanent"
    found = loaded_by({"package": "import onward", "handler": names})
    assert {name for name in found["package"] if name.startswith("onward")} == {"onward"}
    assert not packages(found["handler"]) & {"fastapi", "strawberry", "sqlalchemy", "dramatiq", "redis", "uvicorn"}


@pytest.mark.slow
def test_every_public_name_can_be_imported() -> None:
    loaded_by({"names": "import onward; [getattr(onward, name) for name in onward.__all__]"})


@pytest.mark.slow
def test_a_new_sqlite_ledger_is_made_without_alembic(tmp_path: Path) -> None:
    """Alembic loads the dialects of all databases, and takes longer than everything else that a new ledger needs."""
    url = f"sqlite:///{tmp_path / 'onward.db'}"
    made = f"from onward.storage import engine, migrate; assert migrate.upgrade(engine.Database({url!r}))"
    (modules,) = loaded_by({"made": made}).values()
    assert not modules & {"alembic", "sqlalchemy.dialects.postgresql"}
