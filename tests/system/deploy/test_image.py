"""The image holds exactly what it runs; it is built by buildah, and runs on a read-only root, unprivileged."""

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from tests.processes import wait_until
from tests.servers import free_port
from tests.system.deploy.image import DOCKERFILE, Image, lacking, repository
from tests.system.package.fixtures import Package

SECRET = "s" * 32
USER = 10001
ITEM = 'mutation { processItem(input: {item: "some words"}) { job { id } errors { message } } }'
NOTE = 'mutation { sendNotification(input: {email: "ada@example.org", message: "Hi"}) { job { id } } }'
LARGEST_BYTES = 450_000_000


def test_the_program_is_read_only_and_runs_as_an_unprivileged_user() -> None:
    """The files belong to root, and the process does not run as root."""
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert f"\nUSER {USER}\n" in last
    assert not re.search(r"^(COPY|RUN|ADD)", last.partition("\nUSER ")[2], re.MULTILINE)
    assert "--chown" not in last


@pytest.fixture(scope="module")
def image(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if missing := lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("image")
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore")
    made = Image(folder, repository(folder, package.wheel), DOCKERFILE, ignored)
    yield made
    made.close()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_image_contains_only_the_program_and_its_project(image: Image) -> None:
    size = f"{image.size_bytes / 1e6:.0f} MB"
    print(f"\nthe image has {size}")  # noqa: T201 - for whoever reads the log
    assert image.size_bytes < LARGEST_BYTES, size
    project = {path.name for path in (image.root / "etc/onward").iterdir()}
    assert project == {"settings.toml", "gql", "handlers", "database"}
    (packages,) = (image.root / "opt/onward").glob("lib/python3*/site-packages")
    names = {path.name for path in packages.iterdir()}
    assert "onward" in names
    assert not names & {"pip", "tests", "benchmarks"}
    assert not [path for path in (image.root / "opt").iterdir() if path.name != "onward"]
    assert not list(image.root.glob("**/secret.env"))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_root_is_read_only(image: Image, volume: Path) -> None:
    tries = "id -u; touch /x /opt/onward/x /etc/onward/x; cd /tmp && touch ok /var/lib/onward/ok && echo written"
    output = image.shell(tries, volume)
    assert output.stdout == f"{USER}\nwritten\n"
    assert output.stderr.count("Read-only file system") == 3
    assert [path.name for path in volume.iterdir()] == ["ok"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_command_that_needs_a_clone_says_so(image: Image, volume: Path) -> None:
    with image.running("faults", volume=volume) as faults:
        assert faults.process.wait(60) == 2
        assert "tests/ is not in this installation" in faults.output()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_api_and_worker_do_a_mutations_job_and_drain(
    image: Image, volume: Path, postgres_url: str, redis_url: str, namespace: str
) -> None:
    port = free_port()
    variables = {
        "ONWARD_DATABASE__URL": postgres_url,
        "ONWARD_BACKENDS__DRAMATIQ__URL": redis_url,
        "ONWARD_BACKENDS__DRAMATIQ__NAMESPACE": namespace,
        "ONWARD_AUTH__JWT__SECRET": SECRET,
        "ONWARD_EMAIL__TRANSPORT": "file",
        "ONWARD_EMAIL__DIRECTORY": "/var/lib/onward/mail",
    }
    with image.running("migrate", volume=volume, variables=variables) as migrate:
        assert migrate.process.wait(120) == 0, migrate.output()
    serve = ("serve", "--host", "0.0.0.0", "--port", str(port))
    with (
        image.running(*serve, volume=volume, variables=variables) as api,
        image.running("worker", "--processes", "2", volume=volume, variables=variables) as worker,
    ):
        wait_until(lambda: _accepts(port) or api.process.poll() is not None, 120)
        assert api.process.poll() is None, api.output()
        for process in (api, worker):
            assert _user(process.process.pid) == USER
        jobs = [_ask(port, ITEM)["processItem"]["job"]["id"], _ask(port, NOTE)["sendNotification"]["job"]["id"]]
        wait_until(lambda: {_status(port, job) for job in jobs} == {"SUCCEEDED"}, 60)
        assert '"ada@example.org"' in (volume / "notifications.jsonl").read_text()
        late = [_ask(port, ITEM)["processItem"]["job"]["id"] for _ in range(20)]
        assert worker.end(60) == 0, worker.output()
        with image.running("worker", "--processes", "1", volume=volume, variables=variables) as second:
            second.wait_for("worker is up")  # a signal before that ends it at once
            wait_until(lambda: {_status(port, job) for job in late} == {"SUCCEEDED"}, 60)
            assert second.end(60) == 0, second.output()
        assert api.end(60) == 0, api.output()


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _ask(port: int, document: str, **values: str) -> Any:
    token = jwt.encode({"sub": "ada", "exp": time.time() + 600}, SECRET, algorithm="HS256")
    answer = httpx2.post(
        f"http://127.0.0.1:{port}/graphql",
        json={"query": document, "variables": values},
        headers={"authorization": f"Bearer {token}"},
        timeout=30,
    ).json()
    assert "errors" not in answer, answer
    return answer["data"]


def _status(port: int, job: str) -> str:
    status: str = _ask(port, "query ($id: ID!) { job(id: $id) { status } }", id=job)["job"]["status"]
    return status


def _user(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("\nUid:\t")[2].split()[0])
