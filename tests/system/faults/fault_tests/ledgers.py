"""The ledger locked, full, crashed, or cut off."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.system.faults import fault_injection, outages
from tests.system.faults.fault_tests.base import (
    BACKGROUND,
    ON_POSTGRESQL,
    ON_SQLITE,
    FaultTest,
    Stage,
    load,
    upon_an_answer,
)

LOCKED_S = 10.0  # longer than the program waits for the ledger
WAIT_TIMEOUT_S = 5.0
MARGIN_S = 2.0
DISK_MB = 6


def a_locked_ledger_is_reported_within_its_timeout(stage: Stage) -> None:
    """Each caller gets UNAVAILABLE in time, however many wait; the processes recover when the lock is gone."""
    installation = stage.installation
    with load(installation, 30) as sent:
        stage.pause(0.2, 0.3)
        with outages.ledger_locked(installation):
            time.sleep(LOCKED_S)
    refusals = [request for request in sent if request.refused]
    assert refusals, "no request was refused"
    assert {code for request in refusals for code in request.refused} == {"UNAVAILABLE"}
    assert max(request.took_s for request in sent) < WAIT_TIMEOUT_S + MARGIN_S


def a_full_disk_leaves_nothing_half_accepted(stage: Stage) -> None:
    """Mutations are UNAVAILABLE while the disk is full; the processes recover when it is not."""
    with _small_disk(stage.installation.folder / "small") as disk:
        installation = stage.make(ledger_folder=disk)
        installation.start()
        installation.client.send("processItem", 20)
        ballast = disk / "ballast"
        _fill(ballast)
        installation.client.timeout_s = 0.0
        refused = installation.client.send("processItem", 300, lanes=30)
        assert any("UNAVAILABLE" in request.refused for request in refused), "no answer says that the disk is full"
        ballast.unlink()
        installation.client.timeout_s = 60.0
        accepted = installation.client.send("registerUser", 20)
        assert all(request.job for request in accepted)
        installation.client.again(refused)
        installation.wait_for_jobs()
        installation.check()
        installation.close()


@contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    """Mount a file system of a few megabytes. Raises Missing if that is not permitted."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "onward", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def may_mount() -> bool:
    return os.geteuid() == 0


def cut_connections_leave_nothing_half_done(stage: Stage) -> None:
    """PostgreSQL ends connections in transactions: a retry, or UNAVAILABLE, and the key finds the finished work."""
    installation = stage.installation
    assert installation.postgres is not None
    cut = 0
    with load(installation, 60):
        for _ in range(8):
            stage.pause(0.1, 0.5)
            cut += installation.postgres.cut()
    assert cut > 8, "there was nothing to cut"


def a_crash_of_postgresql_loses_nothing(stage: Stage) -> None:
    """The pools recover by themselves."""
    installation = stage.installation
    with load(installation, 40):
        for _ in range(2):
            stage.pause(0.3, 0.6)
            upon_an_answer(installation)
            fault_injection.crash_ledger(installation, stage.chance)
        stage.pause(0.3, 0.6)
    installation.wait_for_jobs(30)


FAULT_TESTS = (
    FaultTest(a_locked_ledger_is_reported_within_its_timeout, ON_SQLITE, alone=True, slow=True),
    FaultTest(a_full_disk_leaves_nothing_half_accepted, (BACKGROUND,), slow=True),
    FaultTest(cut_connections_leave_nothing_half_done, (ON_POSTGRESQL,)),
    FaultTest(a_crash_of_postgresql_loses_nothing, (ON_POSTGRESQL,)),
)
