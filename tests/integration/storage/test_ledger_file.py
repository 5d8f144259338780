"""A process whose ledger file is gone accepts nothing more until the file is back."""

from __future__ import annotations

import shutil
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
            with pytest.raises(Unavailable) as refused:
                writer.run_sync(lambda tx, name=name: put(tx, name))  # type: ignore[misc]
            assert isinstance(refused.value.__cause__, FileReplaced)
            assert str(file) in str(refused.value.__cause__)
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
