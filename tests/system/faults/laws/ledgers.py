"""The ledger locked, full, crashed, cut off."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.system.faults import outages, strikes
from tests.system.faults.laws.base import BACKGROUND, ON_POSTGRESQL, ON_SQLITE, Law, Stage, load, upon_an_answer

LOCKED_S = 10.0  # longer than the program waits for the ledger
PATIENCE_S = 5.0
MARGIN_S = 2.0
ROOM_MB = 6


def a_locked_ledger_is_reported_within_its_timeout(stage: Stage) -> None:
    """Each caller hears UNAVAILABLE in time, however many wait; it goes on by itself when the lock is gone."""
    site = stage.site
    with load(site, 30) as sent:
        stage.pause(0.2, 0.3)
        with outages.ledger_locked(site):
            time.sleep(LOCKED_S)
    told = [request for request in sent if request.refused]
    assert told, "nobody was told"
    assert {code for request in told for code in request.refused} == {"UNAVAILABLE"}
    assert max(request.took_s for request in sent) < PATIENCE_S + MARGIN_S


def a_full_disk_leaves_nothing_half_accepted(stage: Stage) -> None:
    """UNAVAILABLE while there is no room; it goes on by itself when there is."""
    with _small_disk(stage.site.folder / "small") as disk:
        site = stage.make(ledger_folder=disk)
        site.start()
        site.client.send("processItem", 20)
        ballast = disk / "ballast"
        _fill(ballast)
        site.client.patience_s = 0.0
        refused = site.client.send("processItem", 300, lanes=30)
        assert any("UNAVAILABLE" in request.refused for request in refused), "nobody was told that there is no room"
        ballast.unlink()
        site.client.patience_s = 60.0
        accepted = site.client.send("registerUser", 20)
        assert all(request.job for request in accepted)
        site.client.again(refused)
        site.settle()
        site.check()
        site.close()


@contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    """A file system of a few megabytes. Raises Missing where none may be mounted."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_MB}m", "onward", str(place)], check=True)
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
    """PostgreSQL ends them in the middle of transactions: a retry, or UNAVAILABLE, and the key finds what was done."""
    site = stage.site
    assert site.postgres is not None
    cut = 0
    with load(site, 60):
        for _ in range(8):
            stage.pause(0.1, 0.5)
            cut += site.postgres.cut()
    assert cut > 8, "there was nothing to cut"


def a_crash_of_postgresql_loses_nothing(stage: Stage) -> None:
    """The pools recover by themselves."""
    site = stage.site
    with load(site, 40):
        for _ in range(2):
            stage.pause(0.3, 0.6)
            upon_an_answer(site)
            strikes.crash_ledger(site, stage.chance)
        stage.pause(0.3, 0.6)
    site.settle(30)


LAWS = (
    Law(a_locked_ledger_is_reported_within_its_timeout, ON_SQLITE, alone=True),
    Law(a_full_disk_leaves_nothing_half_accepted, (BACKGROUND,)),
    Law(cut_connections_leave_nothing_half_done, (ON_POSTGRESQL,)),
    Law(a_crash_of_postgresql_loses_nothing, (ON_POSTGRESQL,)),
)
