"""Keep a ledger of this release, left in the midst of work: `.venv/bin/python -m tests.integration.releases.write`.

As SQL, in a file named after the release, which every later one then has to carry on with (see `test_releases.py`).
"""

import sqlite3
import tempfile
import tomllib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from onward.storage import sqlite
from onward.storage.place import Place
from tests import application
from tests.processes import ROOT, graphql, running, wait_until

HERE = Path(__file__).parent
LEDGER = Path("var", "onward.db")
ACT = (
    "mutation($handler: String!, $name: String!, $params: JSON!, $runAt: DateTime)"
    " { act(handler: $handler, params: $params, key: $name, runAt: $runAt) { job { id } errors { message } } }"
)
REGISTER = (
    'mutation { registerUser(input: {username: "ann", email: "ann@example.org", idempotencyKey: "once"})'
    " { job { id } replayed errors { message } } }"
)
STATUS = "query($id: ID!) { job(id: $id) { status steps { status } } }"
CANCEL = "mutation($id: ID!) { cancelJob(input: {id: $id}) { errors { message } } }"
SETTINGS = """
[server]
port = 0
[backends.background]
concurrency = 2
[database]
url = "{url}"
[gql]
modules = ["tests.system.faults.fault_mutations"]
[handlers]
modules = ["tests.integration.releases.{module}"]
"""


def lay_out(project: Path, module: str, url: str = f"sqlite:///{LEDGER}") -> None:
    """Write a project with the handlers of that module."""
    application.write(project, SETTINGS.replace("{module}", module).replace("{url}", url))


def write(project: Path) -> str:
    """Return, as SQL, a ledger with jobs in every state whose process was killed."""
    lay_out(project, "earlier_handlers")
    with running("serve", project=project) as api:
        address = api.serving()

        def act(handler: str, name: str, run_at: datetime | None = None) -> str:
            at = run_at.isoformat() if run_at else None
            wanted = {"handler": handler, "name": name, "params": {"name": name}, "runAt": at}
            made = graphql(address, ACT, **wanted)["act"]
            assert made["errors"] == []
            return str(made["job"]["id"])

        def is_now(job: str, *statuses: str) -> None:
            def holds() -> bool:
                found = graphql(address, STATUS, id=job)["job"]
                return [found["status"], *(step["status"] for step in found["steps"])][: len(statuses)] == [*statuses]

            wait_until(holds)

        for handler, status in (("greet", "SUCCEEDED"), ("refused", "FAILED"), ("later", "RETRYING")):
            is_now(act(f"release.{handler}", f"Ann {status}"), status)
        half, unwanted = act("release.half", "Ann RUNNING"), act("release.half", "Ann CANCELLING")
        for job in (half, unwanted):
            is_now(job, "RUNNING", "SUCCEEDED", "RUNNING")
        graphql(address, CANCEL, id=unwanted)
        act("release.greet", "Ann SCHEDULED", datetime.now(UTC) + timedelta(hours=1))
        act("release.greet", "Ann QUEUED")
        graphql(address, CANCEL, id=act("release.greet", "Ann CANCELLED"))
        graphql(address, REGISTER)
        api.process.kill()
        api.process.wait()
    with closing(sqlite3.connect(project / LEDGER)) as connection:  # Python's own, which can write it as SQL
        connection.execute(
            Place("sqlite").named("UPDATE _ledger.runners SET place = ''")
        )  # the ledger has come from another machine
        connection.commit()
        return "\n".join([*connection.iterdump(), ""])


class Kept:
    """A project with the kept ledger of a release, on SQLite, or on PostgreSQL where there is a URL."""

    def __init__(self, project: Path, sql: str, url: str | None) -> None:
        self._place: Place | None = None
        if url is None:
            (project / "var").mkdir()
            self._connection: Any = sqlite.dbapi().connect(project / LEDGER, isolation_level=None)
            self._connection.executescript(sql)
            self._mark = "?"
        else:
            self._connection = psycopg.connect(url, autocommit=True)
            self._connection.execute(sql)
            self._connection.execute("SET search_path = public")
            self._mark = "%s"

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """Run a statement that names tables as in `_ledger.jobs`, wherever they are by now."""
        named = statement.replace("_ledger.", "") if self._place is None else self._place.named(statement)
        return self._connection.execute(named.replace("?", self._mark), values)

    def has_moved(self) -> None:
        """The ledger is in its own place from now on."""
        self._place = Place("sqlite" if self._mark == "?" else "postgresql")

    def close(self) -> None:
        self._connection.close()


def _release() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (HERE / f"{_release()}.sqlite.sql").write_text(write(Path(folder)), "utf-8")
