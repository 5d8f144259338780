"""`logging.write`: one line for each entry, however many processes write."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.logging import write
from onward.handlers.journal import JsonLines, LogBusy

Run = Callable[..., Awaitable[list[Any]]]

WRITER = """
import sys
from pathlib import Path
from handlers.logging import write
from onward.handlers.journal import JsonLines, LogBusy
log = JsonLines(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    log.append({"job": f"{sys.argv[2]}-{number}", "message": "x" * (number * 37 % 5000)})
"""

WRITER_ON_FULL_DISK = """
import resource, sys
from pathlib import Path
from handlers.logging import write
from onward.handlers.journal import JsonLines, LogBusy
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
log = JsonLines(Path(sys.argv[1]))
log.append({"message": "x" * 60})
try:
    log.append({"message": "y" * 60})
except OSError:
    sys.exit(7)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_notification_is_a_line_that_names_its_job_and_time(run: Run, job: Any) -> None:
    await run(write, job, email="ada@example.org", message="Grüße")
    (line,) = lines(job.tools.log.path)
    assert list(line) == ["time", "job", "email", "message"]
    assert (line["job"], line["email"], line["message"]) == ("job_1", "ada@example.org", "Grüße")
    assert line["time"].endswith("+00:00")


async def test_a_repeated_line_is_recognisable_by_its_job(run: Run, job: Any) -> None:
    for _ in range(2):
        await run(write, job, email="a@example.com", message="m")
    assert [line["job"] for line in lines(job.tools.log.path)] == ["job_1", "job_1"]


def test_the_handler_runs_in_a_thread() -> None:
    assert not write.steps[0].is_async


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a\r\n{}",
        "a\u2028b",
        "a\u2029b",
        "a\x85b",
        "a\x0bb\x0cc\x1cd",
        "\x1b[2J",
        "\x9b2J",
        "a\u202eb",
        '"}\n{"',
        "\0",
    ],
)
def test_no_text_can_forge_a_line_or_control_a_terminal(tmp_path: Path, text: str) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.append({text: text})
    assert lines(log.path) == [{text: text}]
    assert log.path.read_text().rstrip("\n").isprintable()


def test_a_line_after_a_torn_one_starts_on_its_own_line(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.append({"n": 1})
    with log.path.open("a") as file:
        file.write('{"n":2,"mess')
    log.append({"n": 3})
    log.append({"n": 4})
    assert log.path.read_text() == '{"n":1}\n{"n":2,"mess\n{"n":3}\n{"n":4}\n'


def test_a_value_that_is_not_json_writes_nothing(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    for value in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            log.append({"n": value})  # type: ignore[dict-item]
    assert not log.path.exists()


def test_a_rotated_log_is_created_anew(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "deep" / "er" / "log.jsonl")
    log.append({"n": 1})
    log.path.rename(tmp_path / "old.jsonl")
    log.append({"n": 2})
    assert (lines(tmp_path / "old.jsonl"), lines(log.path)) == ([{"n": 1}], [{"n": 2}])


def test_many_processes_write_whole_lines_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "100"], cwd=Path(__file__).parents[3])
        for name in "abcd"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    jobs = [line["job"] for line in lines(path)]
    assert len(jobs) == 400
    for name in "abcd":
        assert [job for job in jobs if job.startswith(name)] == [f"{name}-{number}" for number in range(100)]


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")

    def append_all() -> None:
        for n in range(50):
            log.append({"n": n})

    threads = [threading.Thread(target=append_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["n"] for line in lines(log.path)) == sorted([*range(50)] * 8)


class Disk:
    """`os.fsync`, the first call of which takes until all threads have come, and what was written by each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: JsonLines, threads: int, *, room: int = 10_000) -> None:
        self._log = log
        self._threads = threads
        self._room = room
        self.syncs = 0
        self._write = os.write
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(os, "write", self._write_some)

    def _fsync(self, _fd: int) -> None:
        self.syncs += 1
        deadline = time.monotonic() + 10
        others = self._threads - 1
        while self.syncs == 1 and len(self._log._waiting) < others and time.monotonic() < deadline:
            time.sleep(0.001)

    def _write_some(self, fd: int, data: bytes) -> int:
        return self._write(fd, data[: self._room])


def append_in_threads(log: JsonLines, texts: list[str]) -> list[str]:
    """Append each text in a thread of its own, and return those that were refused."""
    refused: list[str] = []

    def append(text: str) -> None:
        try:
            log.append({"text": text})
        except OSError:
            refused.append(text)

    threads = [threading.Thread(target=append, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return refused


def test_threads_that_wait_share_one_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.append({"text": "first"})
    disk = Disk(monkeypatch, log, threads=8)
    texts = [str(n) for n in range(8)]
    assert append_in_threads(log, texts) == []
    assert disk.syncs == 2
    assert sorted(line["text"] for line in lines(log.path)) == [*texts, "first"]


def test_a_line_too_long_for_the_disk_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    log.append({"text": "first"})
    disk = Disk(monkeypatch, log, threads=6, room=200)
    long = "x" * 300
    assert append_in_threads(log, ["a", "b", "c", long, "d", "e"]) == [long]
    assert disk.syncs > 1
    assert sorted(line["text"] for line in lines(log.path)) == ["a", "b", "c", "d", "e", "first"]


def test_an_error_of_the_disk_is_that_of_all_lines_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their threads do not write them once more, each by itself."""
    log = JsonLines(tmp_path / "log.jsonl")
    log.append({"text": "first"})
    disk = Disk(monkeypatch, log, threads=4)
    sync = os.fsync

    def broken(fd: int) -> None:
        sync(fd)
        if disk.syncs > 1:
            raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", broken)
    refused = append_in_threads(log, ["a", "b", "c", "d"])
    assert len(refused) == 3
    assert disk.syncs == 2
    assert sorted(line["text"] for line in lines(log.path)) == ["a", "b", "c", "d", "first"]


def test_a_thread_whose_line_is_being_written_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told that the log is busy, its job would write the line again."""
    log = JsonLines(tmp_path / "log.jsonl", timeout_s=0.2)
    disk = Disk(monkeypatch, log, threads=3)
    sync = os.fsync

    def slow(fd: int) -> None:
        sync(fd)
        time.sleep(0.5 if disk.syncs == 2 else 0)

    monkeypatch.setattr(os, "fsync", slow)
    log.path.touch()
    assert append_in_threads(log, ["a", "b", "c"]) == []
    assert sorted(line["text"] for line in lines(log.path)) == ["a", "b", "c"]


def test_a_frozen_process_with_the_lock_does_not_block_others_for_ever(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl", timeout_s=0.05)
    log.append({"n": 1})
    with log.path.open() as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        with pytest.raises(LogBusy):
            log.append({"n": 2})
    log.append({"n": 3})
    assert lines(log.path) == [{"n": 1}, {"n": 3}]


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    ended = subprocess.run(
        [sys.executable, "-c", WRITER_ON_FULL_DISK, str(path)], cwd=Path(__file__).parents[3], check=False
    )
    assert ended.returncode == 7
    assert lines(path) == [{"message": "x" * 60}]
