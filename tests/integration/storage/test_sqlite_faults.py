"""SQLite with a locked file, or a full disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pysqlite3
import pytest

from onward.storage import sqlite
from onward.storage.base import Unavailable
from onward.storage.engine import Database
from tests.integration.storage.test_writer import names, put
from tests.ledgers import accept, writing

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def locked(url: str) -> Iterator[Any]:
    """Hold a transaction open, as another process's writer does."""
    other = pysqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


def test_a_lasting_lock_is_reported_after_the_writer_s_timeout(sqlite_ledger: str) -> None:
    """The error is Unavailable and nothing is written; the writer works again once the lock is gone."""
    with writing(sqlite_ledger, timeout_s=0.5) as writer:
        with locked(sqlite_ledger):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                writer.run_sync(lambda tx: put(tx, "refused"))
            assert 0.4 < time.monotonic() - started < 30
        writer.run_sync(lambda tx: put(tx, "after"))
        assert names(writer.database) == {"after"}


def test_a_short_lock_is_waited_for(sqlite_ledger: str) -> None:
    """No caller sees an error."""
    with writing(sqlite_ledger, timeout_s=5) as writer, locked(sqlite_ledger) as other:
        timer = Timer(0.3, lambda: other.execute("COMMIT"))
        timer.start()
        writer.run_sync(lambda tx: put(tx, "patient"))
        timer.join()
        assert names(writer.database) == {"patient"}


def test_readers_work_while_the_ledger_is_locked(sqlite_ledger: str) -> None:
    """Readers see the data committed before."""
    with writing(sqlite_ledger) as writer:
        writer.run_sync(lambda tx: put(tx, "before"))
        with locked(sqlite_ledger):
            assert names(writer.database) == {"before"}


def test_a_commit_is_synced(sqlite_ledger: str) -> None:
    """Every connection has WAL with synchronous=FULL, so that an answered write survives a power cut."""
    database = Database(sqlite_ledger)
    for _ in range(2):
        connection = database.connect()
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        connection.close()
    database.close()


FULL = """
import resource, sys
from pathlib import Path
from onward.storage import sqlite
from onward.storage.base import Unavailable
from onward.storage.writer import Writer
from onward.storage.engine import Database
from tests.integration.storage.test_writer import names
import sqlalchemy as sa
from onward.storage.tables import meta

folder, how = Path(sys.argv[1]), sys.argv[2]
url = f"sqlite:///{folder / 'onward.db'}"
put = sa.insert(meta).values(name=sa.bindparam("name_"), value="x" * 50_000)
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
else:
    (folder / "ballast").write_bytes(b"x" * 1_000_000)
writer = Writer(Database(url), timeout_s=1)
writer.start()
kept = []
try:
    for n in range(200):
        writer.run_sync(lambda tx, n=n: tx.execute(put, name_=f"n{n}"))
        kept.append(f"n{n}")
except Unavailable:
    pass
else:
    sys.exit("the disk was never full")
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    (folder / "ballast").unlink()
found = names(writer.database)
assert set(kept) == found, (sorted(found), kept)
writer.run_sync(lambda tx: tx.execute(put, name_="after"))
assert names(writer.database) == {*kept, "after"}
connection = writer.database.connect()
assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
connection.close()
writer.close()
writer.database.close()
print("held", len(kept))
"""


def small_disk(folder: Path) -> list[str]:
    """Return a command prefix that mounts a disk of 4 MB at the folder; empty if that is not permitted."""
    for words in (["unshare", "-m"], ["unshare", "-rm"]):
        mount = [*words, "sh", "-c", 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"', str(folder)]
        if (
            shutil.which("unshare")
            and subprocess.run([*mount, "true"], capture_output=True, check=False).returncode == 0
        ):
            return mount
    return []


@pytest.mark.parametrize("how", ["disk", "limit"])
def test_a_full_disk_is_reported_and_answered_writes_are_kept(migrated_sqlite: Path, tmp_path: Path, how: str) -> None:
    """The error is Unavailable and nothing is half written; the writer works again when there is space.

    A small tmpfs where this user may mount one; a limit on the size of files everywhere.
    """
    before = small_disk(tmp_path) if how == "disk" else []
    how = "disk" if before else "limit"
    script = f"import shutil; shutil.copy({str(migrated_sqlite)!r}, {str(tmp_path / 'onward.db')!r})\n{FULL}"
    run = subprocess.run(
        [*before, sys.executable, "-c", script, str(tmp_path), how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "held" in run.stdout


def test_the_log_shrinks_again_after_a_long_read(sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup is such a read: meanwhile the log grows by every commit, as none of it can be used again."""
    monkeypatch.setattr(sqlite, "WAL_BYTES", most := 2**18)
    with writing(sqlite_ledger) as writer, closing(writer.database.connect()) as reader:
        log = Path(f"{sqlite_ledger.removeprefix('sqlite:///')}-wal")
        reader.execute("BEGIN")
        reader.execute(writer.database.named("SELECT count(*) FROM _ledger.jobs")).fetchone()
        while log.stat().st_size < 20 * most:
            writer.run_sync(lambda tx: [accept(tx) for _ in range(500)])
        reader.execute("COMMIT")
        for _ in range(2):  # one copies the log into the file, the next one begins it again
            writer.run_sync(accept)
        assert log.stat().st_size <= most
