"""A process whose ledger file is gone accepts nothing more until the file is back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onward.storage.base import FileReplaced, Unavailable
from onward.storage.engine import Database
from tests.integration.storage.test_writer import names, put
from tests.ledgers import writing


def _delete(file: Path) -> None:
    file.unlink()


def _move(file: Path) -> None:
    file.rename(f"{file}.away")


def _replace(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy(file, copy)
    copy.replace(file)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("take_away", [_delete, _move, _replace])
def test_no_job_is_accepted_into_a_missing_file(
    sqlite_ledger: str, take_away: Callable[[Path], None], suffix: str
) -> None:
    """The next transaction is refused for each of the three files, and no empty ledger is created."""
    file = Path(sqlite_ledger.removeprefix("sqlite:///") + suffix)
    with writing(sqlite_ledger, timeout_s=0.2) as writer:
        writer.run_sync(lambda tx: put(tx, "before"))
        take_away(file)
        here = file.exists()
        for name in ("refused", "refused too"):
            with pytest.raises(FileReplaced) as refused:
                writer.run_sync(lambda tx, name=name: put(tx, name))  # type: ignore[misc]
            assert str(file) in str(refused.value)
        with pytest.raises(FileReplaced):
            writer.database.connect()
        assert file.exists() is here


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_file_that_is_moved_back_goes_on(sqlite_ledger: str, suffix: str) -> None:
    """The file has everything accepted before and after, also for a process that opens it anew."""
    file = Path(sqlite_ledger.removeprefix("sqlite:///") + suffix)
    with writing(sqlite_ledger) as writer:
        writer.run_sync(lambda tx: put(tx, "before"))
        _move(file)
        with pytest.raises(Unavailable):
            writer.run_sync(lambda tx: put(tx, "refused"))
        Path(f"{file}.away").rename(file)
        writer.run_sync(lambda tx: put(tx, "after"))
        assert names(writer.database) == {"before", "after"}
    database = Database(sqlite_ledger)
    assert names(database) == {"before", "after"}
    database.close()


def test_a_deleted_wal_is_saved_by_a_shutdown(sqlite_ledger: str) -> None:
    """The last connection still has the deleted file open, and writes it into the ledger as it closes."""
    file = Path(sqlite_ledger.removeprefix("sqlite:///"))
    with writing(sqlite_ledger) as writer:
        writer.run_sync(lambda tx: put(tx, "in the wal"))
        Path(f"{file}-wal").unlink()
        with pytest.raises(Unavailable):
            writer.run_sync(lambda tx: put(tx, "refused"))
    database = Database(sqlite_ledger)
    assert names(database) == {"in the wal"}
    database.close()


OPEN_AND_CLOSE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
connection.close()
"""


def test_a_second_opening_in_a_process_leaves_the_locks_of_the_first(sqlite_ledger: str) -> None:
    """Without them another process takes itself for the last one, and deletes the log as it closes."""
    file = Path(sqlite_ledger.removeprefix("sqlite:///"))
    with writing(sqlite_ledger) as writer:
        writer.run_sync(lambda tx: put(tx, "before"))
        second = Database(sqlite_ledger)  # as of `onward.sync` in a process that serves
        assert names(second) == {"before"}
        second.close()
        subprocess.run([sys.executable, "-c", OPEN_AND_CLOSE, str(file)], check=True)
        writer.run_sync(lambda tx: put(tx, "after"))
        assert names(writer.database) == {"before", "after"}


def test_a_ledger_at_a_link_that_leads_nowhere_yet_is_made_for_its_user_alone(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "made.db")
    database = Database(f"sqlite:///{tmp_path}/link.db")
    assert database.read_sync(lambda tx: tx.now)
    database.close()
    assert (tmp_path / "made.db").stat().st_mode & 0o077 == 0
