"""The commands of docs/backup.md restore a ledger, and its jobs go on."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.docs.fences import fences
from tests.docs.tour import Reader, reading
from tests.processes import ROOT, graphql, wait_until
from tests.servers import postgres_binaries, postgres_server

REGISTER = "mutation ($input: RegisterUserInput!) { registerUser(input: $input) { job { id status } } }"
NOTIFY = "mutation ($input: SendNotificationInput!) { sendNotification(input: $input) { job { id status } } }"
JOB = "query ($id: ID!) { job(id: $id) { status attempts { number } } }"
BURN = "DO $$ BEGIN FOR i IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
AHEAD = "SELECT count(*) FROM onward.jobs WHERE changed >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


def block(words: str) -> str:
    return next(fence.text for fence in fences(ROOT / "docs" / "backup.md") if words in fence.text)


class Ledger:
    """Checks of the ledger before and after."""

    def __init__(self, reader: Reader) -> None:
        reader.start("./onward serve")
        address = reader.address()
        self.done = graphql(address, REGISTER, input={"username": "ada", "email": "ada@example.com"})
        self.done = self.done["registerUser"]["job"]["id"]
        wait_until(lambda: self.state(address, self.done)["status"] == "SUCCEEDED")
        later = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
        waiting = graphql(address, NOTIFY, input={"email": "ada@example.com", "message": "later", "runAt": later})
        self.waiting = waiting["sendNotification"]["job"]["id"]

    def lose(self, reader: Reader) -> None:
        """Accept a job after the backup and run the one that waited; then stop everything."""
        wait_until(lambda: self.state(reader.address(), self.waiting)["status"] == "SUCCEEDED")
        self.lost = graphql(reader.address(), NOTIFY, input={"email": "ada@example.com", "message": "lost"})
        self.lost = self.lost["sendNotification"]["job"]["id"]
        reader.stop()

    def is_back(self, reader: Reader) -> None:
        reader.start("./onward serve")
        assert self.state(reader.address(), self.done) == {"status": "SUCCEEDED", "attempts": [{"number": 1}]}
        assert self.state(reader.address(), self.lost) is None
        wait_until(lambda: self.state(reader.address(), self.waiting)["status"] == "SUCCEEDED")
        reader.stop()

    @staticmethod
    def state(address: str, job: str) -> Any:
        return graphql(address, JOB, id=job)["job"]


@pytest.mark.slow
def test_a_sqlite_ledger_is_restored(tmp_path: Path) -> None:
    with reading(tmp_path) as reader:
        ledger = Ledger(reader)
        assert reader.type(block("onward backup")) == "the ledger is copied to onward-backup.db\n"
        ledger.lose(reader)
        assert not reader.type(block("cp onward-backup.db"))
        ledger.is_back(reader)


@pytest.mark.long
def test_a_postgresql_ledger_is_restored_into_a_server_with_lower_transaction_ids(
    tmp_path: Path, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(BURN)
    path = f"{postgres_binaries()}{os.pathsep}{os.environ['PATH']}"
    with reading(tmp_path, ONWARD_DATABASE__URL=postgres_url, PATH=path) as reader:
        reader.type("./onward migrate")
        ledger = Ledger(reader)
        assert not reader.type(block("pg_dump"))
        ledger.lose(reader)
        with postgres_server() as server:
            url = server.url
            reader.set("ONWARD_DATABASE__URL", url)
            assert reader.type(block("pg_restore")) == "nothing to do\n"
            with psycopg.connect(url) as connection:
                assert connection.execute(AHEAD).fetchone() == (2,)
            ledger.is_back(reader)
            with psycopg.connect(url) as connection:
                assert connection.execute(AHEAD).fetchone() == (0,)
