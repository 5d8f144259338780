"""A server's files are for its user alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import application
from tests.processes import graphql, running, wait_until
from tests.servers import free_port

SEND = 'mutation { registerUser(input: {username: "ada", email: "ada@example.com"}) { job { id } errors { code } } }'
NOTIFY = (
    'mutation { sendNotification(input: {email: "ada@example.com", message: "hello"}) { job { id } errors { code } } }'
)


# A file that is open to others under the usual umask is so under 0 too: the first case finds it as well.
@pytest.fixture(
    params=[pytest.param(0o000, id="for everybody"), pytest.param(0o022, id="as usual", marks=pytest.mark.slow)]
)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    return [
        f"{path.relative_to(folder)} {stat.filemode(path.stat().st_mode)}"
        for path in (folder / "var", *(folder / "var").rglob("*"))
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]


@pytest.mark.usefixtures("umask")
def test_the_ledger_mails_and_logs_are_private(tmp_path: Path) -> None:
    application.write(tmp_path)
    command = ("serve", "--port", "0")
    with running(*command, project=tmp_path, PYTHONPATH=str(Path(__file__).parents[2])) as api:
        address = api.serving()
        for sent in (SEND, NOTIFY):
            graphql(address, sent)
        var = tmp_path / "var"
        wait_until(lambda: list(var.rglob("*.eml")) and list(var.rglob("*.jsonl")))
        assert {path.name for path in var.iterdir()} >= {"onward.db", "onward.db-wal", "onward.db-shm"}
        assert open_to_others(tmp_path) == []


@pytest.mark.slow
@pytest.mark.usefixtures("umask")
def test_a_private_redis_is_private(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    application.write(tmp_path, f'backend = "dramatiq"\n[server]\nport = 0\n[backends.dramatiq]\nurl = "{url}"\n')
    with running("up", "--processes", "1", project=tmp_path, PYTHONPATH=str(Path(__file__).parents[2])) as up:
        graphql(up.serving(), NOTIFY)
        wait_until(lambda: list((tmp_path / "var" / "redis").rglob("*.aof")))
        assert open_to_others(tmp_path) == []
