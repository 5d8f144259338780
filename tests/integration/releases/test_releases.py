"""Ledgers that earlier releases have left in the midst of work are continued by this one."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from onward.jobs.places import place
from onward.jobs.states import JobStatus
from onward.storage import migrate
from onward.storage.engine import Database
from tests.integration.releases.write import HERE, LEDGER, REGISTER, Kept, lay_out
from tests.ledgers import writing
from tests.processes import graphql, onward, running, wait_until

RETRY = "mutation($id: ID!) { retryJob(input: {id: $id}) { errors { message } } }"
OVER = "('SUCCEEDED', 'FAILED', 'CANCELLED')"
LEDGERS = sorted(HERE.glob("*.sql"))


def test_there_are_ledgers_of_earlier_releases() -> None:
    assert LEDGERS


@pytest.mark.parametrize("kept", LEDGERS, ids=lambda path: path.stem)
def test_the_work_of_an_earlier_release_is_done_by_this_one(
    kept: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Jobs in every state finish; parameters are upgraded, and no finished step runs again."""
    url = request.getfixturevalue("postgres_url") if "postgresql" in kept.stem else None
    ledger = Kept(tmp_path, kept.read_text("utf-8"), url)
    due = "UPDATE _ledger.jobs SET due_at = 1 WHERE status IN ('SCHEDULED', 'RETRYING')"
    ledger.execute(due)  # their time has come
    boot, namespace, pid, _ = place().split("/")
    gone = f"{boot}/{namespace}/{pid}/0"  # another process has had this pid
    ledger.execute("UPDATE _ledger.runners SET place = ?", (gone,))
    before = {name: status for name, status, _, _ in jobs(ledger).values()}
    history = attempts(ledger)
    assert set(before.values()) >= {name.split()[1] for name in before if " " in name}, "every state there is"
    lay_out(tmp_path, "later_handlers", url or f"sqlite:///{LEDGER}")
    assert onward("migrate", project=tmp_path).returncode == 0
    ledger.has_moved()
    assert ledger.execute("SELECT username FROM users").fetchall() == [("ann",)]
    with running("serve", project=tmp_path) as api:
        address = api.serving()
        wait_until(lambda: all_over(ledger))
        failed = next(job for job, (_, status, _, _) in jobs(ledger).items() if status == "FAILED")
        assert graphql(address, RETRY, id=failed)["retryJob"]["errors"] == []
        wait_until(lambda: all_over(ledger))
        again = graphql(address, REGISTER)["registerUser"]
        assert again["replayed"], "an idempotency key of then still stands for the job of then"
    after = {name: (status, result) for name, status, result, _ in jobs(ledger).values()}
    assert after == {
        "Ann SUCCEEDED": ("SUCCEEDED", "Good day, Ann SUCCEEDED"),
        "Ann FAILED": ("SUCCEEDED", "Ann FAILED is welcome"),
        "Ann RETRYING": ("SUCCEEDED", "Ann RETRYING was late"),
        "Ann RUNNING": ("SUCCEEDED", "Ann RUNNING, half done, and done"),
        "Ann CANCELLING": ("CANCELLED", None),
        "Ann SCHEDULED": ("SUCCEEDED", "Good day, SCHEDULED, Ann (asked for by version 1)"),
        "Ann QUEUED": ("SUCCEEDED", "Good day, QUEUED, Ann (asked for by version 1)"),
        "Ann CANCELLED": ("CANCELLED", None),
        "ann": ("SUCCEEDED", None),
    }
    assert all(then == attempts(ledger)[job][: len(then)] for job, then in history.items()), "its history is whole"
    assert (tmp_path / "var" / "mail" / f"{again['job']['id']}.eml").is_file()
    ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def former(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Kept, str]]:
    """Return a ledger that 0.1.0 has kept, and its URL."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    ledger = Kept(tmp_path, (HERE / f"0.1.0.{request.param}.sql").read_text("utf-8"), url)
    yield ledger, url or f"sqlite:///{tmp_path / LEDGER}"
    ledger.close()


def test_a_ledger_that_goes_back_is_the_older_release_s_again(former: tuple[Kept, str], tmp_path: Path) -> None:
    """The tables, columns, indexes and rows equal those at the revision of that release."""
    ledger, url = former
    database = Database(url)
    migrate.upgrade(database)
    migrate.go_back(database)
    first = contents(database)
    assert len(first["jobs"].rows) == len(jobs(ledger))
    migrate.upgrade(database)
    assert "overruns" not in contents(database), "it is in the ledger's own place"
    ledger.has_moved()
    assert ledger.execute("SELECT count(*) FROM _ledger.overruns").fetchone() == (0,)
    lay_out(tmp_path, "later_handlers", url)
    assert onward("migrate", "--back", project=tmp_path).stdout == "the ledger is one of release 0.1.0\n"
    assert contents(database) == first
    database.close()


def test_jobs_that_have_waited_leave_no_count_that_the_older_release_cannot_read(
    former: tuple[Kept, str],
) -> None:
    """The older release fails to count at all where it finds another status than its own, also one without jobs."""
    ledger, url = former
    counted = "SELECT DISTINCT status FROM _ledger.counts"
    before = set(ledger.execute(counted).fetchall())
    database = Database(url)
    migrate.upgrade(database)
    ledger.has_moved()
    with writing(url) as writer:
        for moved in (1, -1):  # a job begins to wait, and goes on
            writer.run_sync(lambda tx, moved=moved: tx.count("ada", JobStatus.WAITING, moved))  # type: ignore[misc]
    assert set(ledger.execute(counted).fetchall()) == {*before, ("WAITING",)}
    migrate.go_back(database)
    rows = contents(database)["counts"].rows
    assert len(rows) == 8
    assert not any("WAITING" in row for row in rows)
    database.close()


class Table(NamedTuple):
    columns: list[str]
    indexes: list[str]
    rows: list[Any]


def contents(database: Database) -> dict[str, Table]:
    """Return the contents of the ledger."""
    engine = sa.create_engine(database.url.set(drivername="postgresql+psycopg" if database.path is None else "sqlite"))
    with engine.connect() as connection, warnings.catch_warnings():
        # SQLAlchemy does not read such indexes of SQLite, which no older release has.
        warnings.filterwarnings("ignore", ".* expression-based index")
        found, inspector = {}, sa.inspect(connection)
        for name in inspector.get_table_names():
            rows = sorted(map(str, connection.execute(sa.text(f"SELECT * FROM {name}"))))
            columns = [f"{column['name']} {column['type']!r}" for column in inspector.get_columns(name)]
            indexes = [f"{index['name']} {index['column_names']}" for index in inspector.get_indexes(name)]
            found[name] = Table(sorted(columns), sorted(indexes), rows)
    engine.dispose()
    return found


def test_a_job_of_a_newer_release_runs_where_nothing_is_lost_by_it(tmp_path: Path) -> None:
    """Releases run side by side for a while; a job with unknown features is refused with a fix."""
    ledger = Kept(tmp_path, next(one for one in LEDGERS if "sqlite" in one.stem).read_text("utf-8"), None)
    ledger.execute("DELETE FROM _ledger.jobs WHERE status NOT IN ('QUEUED', 'SCHEDULED') OR handler <> 'release.greet'")
    ledger.execute("DELETE FROM _ledger.runners")  # no process has to be declared dead first
    newer = "UPDATE _ledger.jobs SET due_at = 1, params_version = 3, params = ? WHERE status = ?"
    ledger.execute(newer, ('{"given": "Ann", "family": "Lee"}', "SCHEDULED"))
    ledger.execute(newer, ('{"given": "Ann", "family": "Lee", "title": "Dr"}', "QUEUED"))
    lay_out(tmp_path, "later_handlers")
    with running("serve", project=tmp_path) as api:
        api.serving()
        ledger.has_moved()
        wait_until(lambda: all_over(ledger))
    refused, done = sorted(jobs(ledger).values(), key=lambda job: job[1])
    assert done[1:3] == ("SUCCEEDED", "Good day, Lee, Ann (asked for by version 2)")
    assert refused[3]["code"] == "INVALID_PARAMETERS"
    assert "a newer release accepted it" in refused[3]["message"]
    assert "title" in refused[3]["message"]
    ledger.close()


def all_over(ledger: Kept) -> bool:
    return not ledger.execute(f"SELECT 1 FROM _ledger.jobs WHERE status NOT IN {OVER}").fetchone()


def attempts(ledger: Kept) -> dict[str, list[Any]]:
    """Return the finished attempts of each job."""
    return {job: json.loads(tried) for job, tried in ledger.execute("SELECT id, attempts FROM _ledger.jobs").fetchall()}


def jobs(ledger: Kept) -> dict[str, tuple[str, str, Any, Any]]:
    """Return each job's name in the parameters, status, result and error, by id."""
    found = {}
    for job, params, *rest in ledger.execute("SELECT id, params, status, result, error FROM _ledger.jobs").fetchall():
        parameters = json.loads(params)
        status, result, error = rest
        name = parameters.get("name") or parameters.get("username") or parameters["family"]
        found[job] = (name, status, json.loads(result) if result else None, json.loads(error) if error else None)
    return found
