"""Without a wheel of pysqlite3 (Linux on arm64), Python's own SQLite keeps the ledger, even an older one."""

import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT, environment

WITHOUT = """
import sys, time
sys.modules["pysqlite3"] = None  # as if it were not installed
from onward.jobs import due, ledger
from onward.jobs.model import NewJob
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.writer import Writer

database = Database(sys.argv[1])
assert migrate.upgrade(database)
writer = Writer(database)
writer.start()
job = writer.run_sync(lambda tx: ledger.accept(tx, NewJob("a.b", "background", "{}", 1, '[{"n":"b"}]', 5)))
assert abs(job.created_at / 1e6 - time.time()) < 60
assert abs(database.read_sync(lambda tx: tx.now) / 1e6 - time.time()) < 60
assert database.read_sync(lambda tx: ledger.get(tx, job.id)).steps[0].name == "b"
assert writer.run_sync(lambda tx: due.reroute(tx, 9, old="background", handler="a.b", new="dramatiq")) == 1
assert writer.run_sync(lambda tx: due.reroute(tx, 9, old="background", handler="a.b", new="dramatiq")) == 0
writer.close()
database.close()
"""


def test_the_ledger_works_without_pysqlite3(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", WITHOUT, f"sqlite:///{tmp_path}/ledger.db"],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
