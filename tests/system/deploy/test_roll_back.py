"""A release is rolled back as docs/deploying.md says, with the older release itself, from the repository's history."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import application
from tests.processes import ROOT, graphql, onward, running, wait_until

OLDER = "07d27f67728145e255f3015ab5a7ca9665865ffc"  # the last commit of 0.1.0 in the form that it was released in
SETTINGS = '[server]\nport = 0\n[database]\nurl = "{url}"\n'
PROCESS = 'mutation($at: DateTime) { processItem(input: {item: "words", runAt: $at}) { job { id } errors { code } } }'
REGISTER = (
    'mutation { registerUser(input: {username: "ann", email: "ann@example.org", idempotencyKey: "once"})'
    " { job { id } replayed errors { code } } }"
)
STATUS = "query($id: ID!) { job(id: $id) { status result } }"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Return the folder of the older release."""
    found = subprocess.run(["git", "archive", OLDER], cwd=ROOT, capture_output=True, check=False)
    if found.returncode != 0:
        pytest.skip("needs the history of the repository")
    folder = tmp_path / "older"
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def serving_older(older: Path, project: Path) -> Iterator[str]:
    """Run the older release as long as the block lasts, and return its address."""
    log = project / "older.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", "--project", str(project), "serve"],
            env={"PYTHONPATH": str(older), "PATH": ""},
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "serving" in log.read_text() or server.poll() is not None)
        address = re.search(r"http://[\d.:]+", log.read_text())
        assert address, log.read_text()
        yield address[0]
    finally:
        server.terminate()
        assert server.wait(60) == 0, log.read_text()


def accepted(address: str, at: datetime | None = None) -> str:
    payload = graphql(address, PROCESS, at=at and at.isoformat())["processItem"]
    assert payload["errors"] == []
    return str(payload["job"]["id"])


def status(address: str, job: str) -> str:
    return str(graphql(address, STATUS, id=job)["job"]["status"])


@pytest.mark.long
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_release_is_rolled_back_and_deployed_again(
    dialect: str, tmp_path: Path, older: Path, request: pytest.FixtureRequest
) -> None:
    """Jobs, their results and idempotency keys are those of before, waiting jobs go on, and new ones run."""
    here, there = tmp_path / "newer-project", tmp_path / "older-project"
    for folder in (here, there):
        folder.mkdir()
    url = f"sqlite:///{tmp_path / 'onward.db'}"
    if dialect == "postgresql":
        url = request.getfixturevalue("postgres_url")
    application.write(here, SETTINGS.format(url=url))
    (there / "settings.toml").write_text(SETTINGS.format(url=url))

    assert onward("migrate", project=here).returncode == 0
    with running("serve", project=here) as api:
        address = api.serving()
        done, later = accepted(address), accepted(address, datetime.now(UTC) + timedelta(days=1))
        user = graphql(address, REGISTER)["registerUser"]["job"]["id"]
        wait_until(lambda: {status(address, done), status(address, user)} == {"SUCCEEDED"})
        result = graphql(address, STATUS, id=done)
        soon = accepted(address, datetime.now(UTC) + timedelta(seconds=2))
        assert api.end() == 0

    assert onward("migrate", "--back", project=here).stdout == "the ledger is one of release 0.1.0\n"
    with serving_older(older, there) as address:
        assert graphql(address, STATUS, id=done) == result
        assert status(address, later) == "SCHEDULED"
        again = graphql(address, REGISTER)["registerUser"]
        assert (again["job"]["id"], again["replayed"]) == (user, True)
        of_older = accepted(address)
        wait_until(lambda: {status(address, of_older), status(address, soon)} == {"SUCCEEDED"})

    assert onward("migrate", project=here).stdout == "the ledger is up to date\n"
    with running("serve", project=here) as api:
        address = api.serving()
        assert [status(address, job) for job in (done, user, soon, of_older)] == ["SUCCEEDED"] * 4
        assert status(address, later) == "SCHEDULED"
        last = accepted(address)
        wait_until(lambda: status(address, last) == "SUCCEEDED")
