"""The modules that really get loaded, which import-linter cannot see."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.processes import environment

ENTRY_POINTS = (
    "onward.api.app",
    "onward.api.server",
    "onward.cli.check",
    "onward.cli.main",
    "onward.cli.terminal",
    "onward.config.settings",
    "onward.runtime.wiring",
    "onward.supervisor.private_redis",
    "onward.supervisor.supervisor",
    "onward.telemetry",
    "onward.worker.consumers",
    "onward.worker.isolated",
    "onward.worker.process",
)

API = "onward.api.app, onward.api.server"


@cache
def loaded_by(statement: str, *, whole: bool = False) -> frozenset[str]:
    """Return the modules that a fresh Python has loaded after the statement: top-level names, or whole names."""
    output = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; {statement}\nprint(*sorted(sys.modules))"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(name if whole else name.partition(".")[0] for name in output.stdout.split())


@pytest.mark.parametrize("module", ["onward.runtime.wiring", "onward.worker.process"])
def test_a_worker_loads_neither_fastapi_nor_strawberry(module: str) -> None:
    loaded = loaded_by(f"import {module}", whole=True)
    assert not {name.partition(".")[0] for name in loaded} & {
        "fastapi",
        "starlette",
        "strawberry",
        "graphql",
        "uvicorn",
    }
    assert not {name for name in loaded if name.startswith(("onward.api", "onward.graphql"))}


def test_a_handler_that_is_a_mutation_loads_no_graphql() -> None:
    """The handlers are the application's and the tests', with all kinds of parameters, results, and companion rows."""
    tests = "tests.integration.graphql.declared_handlers, tests.unit.graphql.signatures"
    modules = f"handlers.logging, handlers.steps, {tests}"
    loaded = loaded_by(f"import onward.worker.process, {modules}", whole=True)
    assert not {name.partition(".")[0] for name in loaded} & {"fastapi", "strawberry", "graphql", "email_validator"}
    ours = {name for name in loaded if name.startswith(("onward.api", "onward.graphql"))}
    assert ours <= {"onward.graphql", "onward.graphql.viewer"}  # `from onward import Viewer`, a plain value


def test_importing_the_package_loads_none_of_its_parts() -> None:
    """Names of the public interface are imported when they are used, so that `import onward` costs nothing."""
    assert {name for name in loaded_by("import onward", whole=True) if name.startswith("onward")} == {"onward"}


@pytest.mark.slow
def test_every_public_name_can_be_imported() -> None:
    loaded_by("import onward; [getattr(onward, name) for name in onward.__all__]")


def test_a_handler_s_module_loads_neither_a_database_nor_a_server() -> None:
    wanted = "from onward import handler, sequence, JobContext, Retry, Permanent"
    assert not loaded_by(wanted) & {"fastapi", "strawberry", "sqlalchemy", "dramatiq", "redis", "uvicorn"}


def test_parts_that_the_default_settings_do_not_use_are_not_loaded() -> None:
    """Imports are most of a start: SMTP, tokens, encryption, Redis, PostgreSQL, FastAPI and its models of OpenAPI."""
    assert not {name.partition(".")[0] for name in loaded_by(f"import {API}", whole=True)} & {
        "aiosmtplib",
        "alembic",
        "cryptography",
        "dramatiq",
        "fastapi",
        "jwt",
        "opentelemetry",
        "psycopg",
        "redis",
    }


@pytest.mark.slow
def test_a_worker_loads_dramatiq_only_for_its_backend() -> None:
    """A job whose runner died twice runs in a worker process of its own, under any backend."""
    loaded = loaded_by("import onward.worker.process, onward.worker.isolated, onward.cli.check")
    assert not loaded & {"aiosmtplib", "dramatiq", "jwt", "psycopg", "redis"}


@pytest.mark.parametrize("modules", [API, "onward.worker.process"])
@pytest.mark.slow
def test_a_sqlite_ledger_works_without_the_dialect_of_postgresql(modules: str) -> None:
    """One condition of an index or one insert of its own would load all that SQLAlchemy has for PostgreSQL."""
    assert "sqlalchemy.dialects.postgresql" not in loaded_by(f"import {modules}", whole=True)


@pytest.mark.slow
def test_a_new_sqlite_ledger_is_made_without_alembic(tmp_path: Path) -> None:
    """Alembic loads the dialects of all databases, and takes longer than everything else that a new ledger needs."""
    url = f"sqlite:///{tmp_path / 'onward.db'}"
    made = f"from onward.storage import engine, migrate; assert migrate.upgrade(engine.Database({url!r}))"
    loaded = loaded_by(made, whole=True)
    assert not loaded & {"alembic", "sqlalchemy.dialects.postgresql"}


def test_help_loads_only_the_library_of_the_command_line() -> None:
    loaded = loaded_by("from onward.cli import main; main.program()", whole=True)
    assert "onward.config.settings" not in loaded
    assert not {name.partition(".")[0] for name in loaded} & {
        "fastapi",
        "strawberry",
        "sqlalchemy",
        "pydantic",
        "redis",
        "dramatiq",
        "structlog",
    }


def test_a_look_at_the_jobs_loads_nothing_that_runs_them() -> None:
    loaded = loaded_by("from onward.cli import main, terminal; main.program()", whole=True)
    assert not loaded & {"onward.jobs.runner", "onward.jobs.leases", "onward.mail", "prometheus_client", "graphql"}


def test_nothing_happens_at_import() -> None:
    """One process imports them all, because a module's code runs at its first import only."""
    loaded_by(
        "import importlib, threading, socket; socket.socket.connect = socket.socket.bind = None\n"
        f"for module in {ENTRY_POINTS}:\n"
        "    importlib.import_module(module)\n"
        "    assert threading.active_count() == 1, module\n"
    )
