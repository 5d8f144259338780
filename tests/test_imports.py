"""What import-linter cannot see: modules at the root, and what really gets loaded."""

import ast
import subprocess
import sys

import pytest

from tests.processes import ROOT, environment

ROOMS = {"backends", "gql", "handlers", "jobs", "storage", "web"}
WAYS_IN = {
    "app",
    "check",
    "cli",
    "connections",
    "private_redis",
    "progress",
    "serving",
    "supervisor",
    "terminal",
    "wiring",
    "worker",
}


def loaded_by(statement: str, *, whole: bool = False) -> set[str]:
    """The modules that a fresh Python has loaded after the statement: the top-level ones, or each by its whole name."""
    told = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; {statement}; print(*sorted(sys.modules))"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return {name if whole else name.partition(".")[0] for name in told.stdout.split()}


def imports_of(module: str) -> set[str]:
    """The top-level modules that a module at the root imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("module", ["wiring", "worker"])
def test_a_worker_loads_neither_fastapi_nor_strawberry(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"fastapi", "starlette", "strawberry", "graphql", "gql", "uvicorn"}


def test_what_the_settings_leave_out_by_default_is_not_loaded() -> None:
    """SMTP, tokens, seals, Redis, PostgreSQL: a start is made of imports."""
    assert not loaded_by("import app, serving") & {
        "aiosmtplib",
        "alembic",
        "cryptography",
        "dramatiq",
        "jwt",
        "psycopg",
        "redis",
    }


@pytest.mark.parametrize("module", ["app", "worker"])
def test_a_ledger_in_sqlite_is_written_without_postgresqls_dialect(module: str) -> None:
    """All that SQLAlchemy knows of PostgreSQL comes with one condition of an index for it, or one insert of its own."""
    assert "sqlalchemy.dialects.postgresql" not in loaded_by(f"import {module}", whole=True)


def test_asking_for_help_loads_no_library_but_the_command_lines() -> None:
    loaded = loaded_by("import cli; cli.program()")
    assert not loaded & {
        "fastapi",
        "strawberry",
        "sqlalchemy",
        "pydantic",
        "redis",
        "dramatiq",
        "structlog",
        "settings",
    }


@pytest.mark.parametrize("module", ["settings", "settings_errors"])
def test_settings_are_leaves(module: str) -> None:
    assert not imports_of(module) & (ROOMS | WAYS_IN)


def test_wiring_knows_no_way_in_and_no_graphql() -> None:
    assert not imports_of("wiring") & ((WAYS_IN - {"wiring"}) | {"gql", "web", "fastapi", "strawberry"})


def test_the_folder_gql_is_ours_and_not_the_package_of_that_name() -> None:
    told = subprocess.run(
        [sys.executable, "-P", "-c", "import gql; print(gql.__file__)"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(ROOT / "gql" / "__init__.py")


def test_the_application_makes_no_wheel() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "build-system" not in project
    assert project["tool"]["uv"]["package"] is False


@pytest.mark.parametrize("module", sorted(WAYS_IN | {"settings", "telemetry"}))
def test_nothing_happens_at_import(module: str) -> None:
    loaded_by(
        "import threading, socket; socket.socket.connect = socket.socket.bind = None; "
        f"import {module}; assert threading.active_count() == 1"
    )
