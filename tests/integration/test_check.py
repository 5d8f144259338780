"""`./onward check`: each part of the settings checks itself, and each problem comes with a fix."""

import shutil
import socket
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from onward.backends.base import Backend, Defer, Delivery, Health, Run
from onward.cli.check import findings
from onward.config.settings import enter, load
from onward.findings import Finding, State
from onward.jobs import concurrency, ledger
from onward.jobs.model import NewJob
from onward.jobs.states import JobStatus
from onward.runtime.database import database_of
from onward.storage import migrate, tables
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests import application
from tests.integration.telemetry.collector import collecting
from tests.processes import onward
from tests.servers import free_port, redis_server

ONCE = """
from datetime import timedelta

from onward import JobContext, Unique, handler


@handler("shop.once", unique=Unique(within=timedelta(days=90)))
async def once(job: JobContext) -> None: ...
"""


class Away(Backend):
    """A backend whose service is not there."""

    runs_elsewhere = True

    def __init__(self, _run: Run) -> None: ...

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None: ...

    async def health(self) -> Health:
        return Health(reachable=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    application.write(tmp_path)
    return tmp_path


def found(project: Path, part: str, **overrides: object) -> list[Finding]:
    return [one for one in findings(load(project, **overrides)) if one.part == part]


def test_a_correct_project_passes(project: Path) -> None:
    outcome = onward("check", project=project)
    assert outcome.returncode == 0, outcome.stdout
    assert {line.split()[0] for line in outcome.stdout.splitlines()} == {"ok"}


def test_a_full_disk_is_wrong(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's file can still be opened and read there."""
    loaded = load(project)
    with closing(database_of(loaded)) as database:
        migrate.upgrade(database)
    usage = shutil.disk_usage(project)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    first = found(project, "database")[0]
    assert (first.state, first.fix) == (State.WRONG, "free some space")
    assert "onward.db is full (4,096 bytes free)" in first.message


def test_a_fault_gives_exit_code_1_and_names_the_fix(project: Path) -> None:
    url = f"postgresql://onward:s3cret@127.0.0.1:{free_port()}/onward"
    outcome = onward("check", project=project, ONWARD_DATABASE__URL=url)
    assert outcome.returncode == 1
    assert "database.url" in outcome.stdout
    assert "s3cret" not in outcome.stdout + outcome.stderr


def test_the_backend_of_the_command_line_is_checked(project: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    outcome = onward("check", "--backend", "dramatiq", project=project, ONWARD_BACKENDS__DRAMATIQ__URL=url)
    assert outcome.returncode == 1
    assert "dramatiq: onward.backends.dramatiq:Dramatiq" in outcome.stdout
    assert "wrong    redis:" in outcome.stdout


def test_every_part_is_checked_even_if_another_is_wrong(project: Path) -> None:
    parts = {one.part for one in findings(load(project, database={"url": "sqlite:////proc/no/where.db"}))}
    assert {"database", "handlers", "gql", "background", "email", "log", "auth"} <= parts


def test_postgresql_without_tables_needs_migrate(project: Path, postgres_url: str) -> None:
    *_, last = found(project, "database", database={"url": postgres_url})
    assert (last.state, last.fix) == (State.WRONG, "run onward migrate")


def test_a_postgresql_with_another_encoding_is_wrong(project: Path, postgres_server_url: str) -> None:
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        try:
            url = postgres_server_url.rsplit("/", 1)[0] + "/latin"
            (only,) = found(project, "database", database={"url": url})
        finally:
            connection.execute("DROP DATABASE latin WITH (FORCE)")
    assert only.state is State.WRONG
    assert "encoding is LATIN1 and has to be UTF8" in only.message


def test_a_postgresql_without_fsync_gives_a_warning(project: Path, postgres_url: str) -> None:
    """The tests' own PostgreSQL runs without it, because it has nothing to keep."""
    first, *_ = found(project, "database", database={"url": postgres_url})
    assert (first.state, first.fix) == (State.WARNING, "set fsync = on in postgresql.conf")


def test_a_redis_without_persistence_or_with_eviction_gives_a_warning(project: Path) -> None:
    with redis_server("--maxmemory-policy", "allkeys-lru") as server:
        states = found(project, "redis", backend="dramatiq", backends={"dramatiq": {"url": server.url}})
    assert [one.state for one in states] == [State.OK, State.WARNING, State.WARNING]
    assert [one.fix for one in states[1:]] == ["set appendonly yes", "set maxmemory-policy noeviction"]


def test_a_well_configured_redis_passes(project: Path) -> None:
    with redis_server("--appendonly", "yes", "--maxmemory-policy", "noeviction") as server:
        states = found(project, "redis", backend="dramatiq", backends={"dramatiq": {"url": server.url}})
    assert [one.state for one in states] == [State.OK]


def test_a_redis_that_refuses_or_does_not_answer_is_wrong(project: Path) -> None:
    with redis_server("--requirepass", "s3cret") as server:
        (refused,) = found(project, "redis", backend="dramatiq", backends={"dramatiq": {"url": server.url}})
        wrong = server.url.replace("redis://", "redis://:wr0ng@")
        (mistaken,) = found(project, "redis", backend="dramatiq", backends={"dramatiq": {"url": wrong}})
    (away,) = found(project, "redis", backend="dramatiq", backends={"dramatiq": {"url": server.url}})
    assert {one.state for one in (refused, mistaken, away)} == {State.WRONG}
    assert "wr0ng" not in mistaken.message
    assert "up" in away.fix


@pytest.mark.parametrize(
    "options", [("--replicaof", "127.0.0.1", "1"), ("--maxmemory", "1", "--maxmemory-policy", "noeviction")]
)
def test_a_redis_that_takes_no_messages_is_wrong(project: Path, options: Sequence[str]) -> None:
    """A replica, and one without memory, answers and refuses each write."""
    with redis_server(*options) as server:
        states = found(project, "redis", backend="dramatiq", backends={"dramatiq": {"url": server.url}})
    assert [one.state for one in states] == [State.OK, State.WRONG]
    assert states[1].message.startswith("cannot be used: ")
    assert "the master" in states[1].fix


def test_a_mail_server_that_does_not_answer_is_wrong(project: Path) -> None:
    smtp = {"transport": "smtp", "smtp": {"port": free_port(), "password": "s3cret", "username": "ann"}}
    (email,) = found(project, "email", email=smtp)
    assert email.state is State.WRONG
    assert "email.smtp" in email.fix


def test_a_folder_that_cannot_be_written_is_wrong(project: Path) -> None:
    (project / "var").write_text("a file where a folder has to be")
    assert [one.state for one in (*found(project, "email"), *found(project, "log"))] == [State.WRONG] * 2


def test_a_ledger_that_cannot_be_made_is_wrong(project: Path) -> None:
    """Nobody makes a folder in /proc, whatever rights it shows."""
    (database, *_) = found(project, "database", database={"url": "sqlite:////proc/ledgers/onward.db"})
    assert (database.state, "database.url" in database.fix) == (State.WRONG, True)


@pytest.mark.parametrize(
    ("function", "words"),
    [("nowhere:resources", "no module 'nowhere'"), ("handlers.resources:nobody", "has no function nobody")],
)
def test_a_missing_lifespan_of_the_handlers_is_wrong(project: Path, function: str, words: str) -> None:
    (lifespan,) = found(project, "lifespan", handlers={"modules": ["handlers.steps"], "lifespan": function})
    assert (lifespan.state, words in lifespan.message) == (State.WRONG, True)


def test_a_missing_folder_of_documents_is_wrong(project: Path) -> None:
    (gql,) = found(project, "gql", gql={"documents": "trusted", "documents_dir": "nowhere"})
    assert (gql.state, gql.fix) == (State.WRONG, "correct gql.documents_dir")


def test_folders_that_no_handler_writes_to_are_not_needed(tmp_path: Path) -> None:
    """A folder that the settings name is needed all the same."""
    for module in ("tests.embedded.parcels", "tests.embedded.couriers"):
        (tmp_path / "settings.toml").write_text(f'[handlers]\nmodules = ["{module}"]\n')
        unused = [found(tmp_path, part)[0] for part in ("email", "log")]
        assert [one.message for one in unused] == ["not in use: no handler names job.tools"] * 2
    (tmp_path / "var").write_text("a file where a folder has to be")
    unused = [found(tmp_path, part)[0] for part in ("email", "log")]
    assert [one.state for one in unused] == [State.WARNING] * 2
    (email,) = found(tmp_path, "email", email={"directory": "var/letters"})
    (log,) = found(tmp_path, "log", log={"path": "var/lines.jsonl"})
    assert [email.state, log.state] == [State.WRONG] * 2


def test_a_missing_backend_class_is_wrong(project: Path) -> None:
    mine = {"mine": {"class": "nowhere:Mine", "password": "s3cret"}}
    (backend,) = found(project, "mine", backend="mine", backends=mine)
    assert (backend.state, backend.fix) == (State.WRONG, "correct [backends.mine]")
    assert "s3cret" not in backend.message


def test_a_key_file_that_cannot_be_read_is_wrong(project: Path) -> None:
    (auth,) = found(project, "auth", auth={"mode": "jwt", "jwt": {"public_key": "nowhere.pem"}})
    assert (auth.state, auth.fix) == (State.WRONG, "correct auth.jwt.public_key")


def test_a_function_of_viewers_is_tried(project: Path) -> None:
    (auth,) = found(project, "auth", auth={"mode": "custom", "viewer": "nowhere:viewer"})
    assert (auth.state, auth.fix) == (State.WRONG, "correct auth.viewer")
    assert "there is no module 'nowhere'" in auth.message
    (auth,) = found(project, "auth", auth={"mode": "custom", "viewer": "tests.integration.graphql.users:viewer"})
    assert (auth.state, auth.message) == (State.OK, 'mode "custom"')
    (auth,) = found(project, "auth", auth={"mode": "custom"}, environment="production")
    assert (auth.state, "auth.viewer" in auth.fix) == (State.WARNING, True)


@pytest.mark.parametrize("key", ["handlers", "gql"])
def test_a_missing_module_is_wrong(key: str, project: Path) -> None:
    (one,) = found(project, key, **{key: {"modules": ["nowhere"]}})
    assert one.state is State.WRONG
    assert f"{key}.modules" in one.fix


def test_jobs_that_are_to_be_unique_for_longer_than_they_are_kept_are_a_warning(project: Path) -> None:
    """The key of a job is deleted with it."""
    (project / "once_shop.py").write_text(ONCE)

    def warned(days: int) -> list[str]:
        kept = {"jobs_days": days, "keys_days": 0}
        every = findings(enter(project, handlers={"modules": ["once_shop"]}, retention=kept))
        return [one.message for one in every if one.state is State.WARNING and "is unique within" in one.message]

    words = "shop.once is unique within 90 days, and finished jobs are kept for 30"
    assert [warned(days) for days in (30, 90, 0)] == [[words], [], []]


def test_a_handlers_module_that_cannot_be_imported_is_reported_once(project: Path) -> None:
    """The schema needs it, too."""
    (project / "broken_shop.py").write_text("raise RuntimeError('hunter2')\n")
    every = list(findings(enter(project, handlers={"modules": ["broken_shop"]})))
    assert [one.part for one in every if "hunter2" in one.message] == ["handlers"]
    (gql,) = [one for one in every if one.part == "gql"]
    assert (gql.state, gql.message) == (State.WARNING, "the schema needs the handlers")


def test_an_invalid_sender_is_wrong_and_stops_the_start_with_one_line(project: Path) -> None:
    (email,) = found(project, "email", email={"sender": "nobody"})
    assert (email.state, email.fix) == (State.WRONG, "correct email.sender")
    outcome = onward("serve", "--port", "0", project=project, ONWARD_EMAIL__SENDER="nobody")
    assert (outcome.returncode, outcome.stderr.count("\n")) == (2, 1)
    assert "email.sender" in outcome.stderr


def test_a_backend_with_unknown_options_is_wrong(project: Path) -> None:
    mine = {"mine": {"class": "onward.backends.background:Background", "concurency": 3}}
    (backend,) = found(project, "mine", backend="mine", backends=mine)
    assert (backend.state, backend.fix) == (State.WRONG, "correct [backends.mine]")
    assert "concurency" in backend.message


def test_a_project_s_own_backend_that_does_not_answer_gives_a_warning(project: Path) -> None:
    mine = {"mine": {"class": "tests.integration.test_check:Away"}}
    _, away = found(project, "mine", backend="mine", backends=mine)
    assert (away.state, away.message) == (State.WARNING, "cannot be reached")
    assert "[backends.mine]" in away.fix


def test_an_unused_backend_is_reported_with_the_setting_that_uses_it(project: Path) -> None:
    """A `backend = ...` below its table is read as an option of it, for example."""
    mine = {"mine": {"class": "onward.backends.background:Background", "backend": "mine"}}
    (idle,) = found(project, "mine", backends=mine)
    assert (idle.state, idle.message) == (State.WARNING, "has a table, and gets no jobs")
    assert 'backend = "mine" above the first [table]' in idle.fix


def test_a_log_that_is_a_folder_is_wrong(project: Path) -> None:
    (log,) = found(project, "log", log={"path": str(project)})
    assert (log.state, log.fix) == (State.WRONG, "move it away, or correct log.path")


def test_an_open_server_on_a_public_address_is_wrong(project: Path) -> None:
    (auth,) = found(project, "auth", server={"host": "0.0.0.0"})
    assert auth.state is State.WRONG
    assert "auth.allow_public" in auth.message


def test_a_route_without_a_handler_gives_a_warning(project: Path) -> None:
    _, handlers = found(project, "handlers", routes={"emial.*": "background", "email.*": "background"})
    assert (handlers.state, handlers.fix) == (State.WARNING, 'correct routes."emial.*"')
    _, handlers = found(project, "handlers", queues={"emial.*": {"priority": 1}})
    assert (handlers.state, handlers.fix) == (State.WARNING, 'correct queues."emial.*"')


def test_a_collector_is_asked_whether_it_accepts_spans(project: Path) -> None:
    with collecting() as collector:
        (one,) = found(project, "traces", telemetry={"traces": collector.url})
    assert one.state is State.OK
    assert collector.spans == []
    (one,) = found(project, "traces", telemetry={"traces": collector.url})
    assert (one.state, "Connection refused" in one.message) == (State.WRONG, True)
    assert "telemetry.traces" in one.fix


@pytest.mark.parametrize(("status", "path"), [(401, ""), (200, "/elsewhere")])
def test_a_collector_that_refuses_is_wrong(status: int, path: str, project: Path) -> None:
    with collecting(status=status) as collector:
        url = collector.url.replace("http://", "http://us:s3cret@") + path
        (one,) = found(project, "traces", telemetry={"traces": url})
    assert one.state is State.WRONG
    assert str(404 if path else 401) in one.message
    assert "s3cret" not in one.message + one.fix


def test_the_address_for_metrics_is_tried(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (one,) = found(project, "metrics", telemetry={"metrics": f"127.0.0.1:{taken}"})
    assert one.state is State.OK
    assert f":{taken}/" not in one.message
    (one,) = found(project, "metrics", telemetry={"metrics": "192.0.2.1:9464"})
    assert (one.state, one.fix) == (State.WRONG, "correct telemetry.metrics")


def test_jobs_that_no_handler_serves_are_reported_with_the_fix(project: Path) -> None:
    """Jobs of other handlers and finished jobs are not reported; paused ones wait for more than a handler."""
    settings = load(project)
    database = Database(settings.database.url)
    migrate.upgrade(database)
    writer = Writer(database)
    writer.start()
    try:
        for handler, status in (
            ("orders.confirm", JobStatus.QUEUED),
            ("orders.confirm", JobStatus.SCHEDULED),
            ("orders.done", JobStatus.SUCCEEDED),
            ("orders.held", JobStatus.QUEUED),
            ("email.welcome", JobStatus.QUEUED),
        ):
            job = writer.run_sync(partial(ledger.accept, new=NewJob(handler, "background", "{}", 1, "[]", 1)))
            given = sa.update(tables.jobs).where(tables.jobs.c.id == job.id).values(status=status.value)
            writer.run_sync(partial(Tx.execute_once, statement=given.returning(tables.jobs.c.id)))
        writer.run_sync(partial(concurrency.pause, handler="orders.held", by=None))
    finally:
        writer.close()
        database.close()
    reported = [one for one in found(project, "handlers") if one.state is State.WARNING]
    assert [one.message for one in reported] == [
        "2 jobs wait for orders.confirm, which no handler here is named",
        "1 job waits for orders.held, which no handler here is named",
    ]
    assert all("handlers.modules" in one.fix for one in reported)
    assert ["onward jobs resume orders.held" in one.fix for one in reported] == [False, True]
