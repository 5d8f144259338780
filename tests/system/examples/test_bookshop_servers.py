"""examples/bookshop and the built wheel, installed together: the bookshop's tests pass under each server."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.processes import ROOT, wait_until
from tests.servers import free_port
from tests.system.examples.test_bookshop import BOOKSHOP
from tests.system.package import environments
from tests.system.package.environments import Environment
from tests.system.package.fixtures import Package
from tests.system.package.served import serving

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
PAGE = (ROOT / "docs" / "fastapi.md").read_text("utf-8")
COMMANDS = dict(
    re.findall(r"^\| (\w+) \| `(.+) \d` \|$", PAGE, re.MULTILINE)
)  # the last word is the number of processes
PROCESSES = {"uvicorn": 1, "gunicorn": 2, "hypercorn": 0, "granian": 2}
ADDRESSES = {
    "uvicorn": "--port {port}",
    "gunicorn": "-b 127.0.0.1:{port}",
    "hypercorn": "-b 127.0.0.1:{port}",
    "granian": "--port {port}",
}
START_TIMEOUT_S = 120.0  # several processes at once import all of it
SERVERS = ("gunicorn", "uvicorn-worker", "hypercorn", "granian")


@pytest.fixture(scope="module")
def installed(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, the bookshop and the servers, as `pip install` makes it."""
    folder = tmp_path_factory.mktemp("bookshop")
    made = environments.make(folder / "venv", package.wheel, "dramatiq", "postgres", "testing")
    environments.install(made, str(BOOKSHOP), *SERVERS)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the settings and the tests, without the application itself."""
    folder = tmp_path / "project"
    shutil.copytree(BOOKSHOP / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.toml", "conftest.py", "pyproject.toml"):
        shutil.copy(BOOKSHOP / name, folder)
    return folder


@pytest.fixture
def variables(request: pytest.FixtureRequest, project: Path) -> dict[str, str]:
    """The databases' addresses, which the parameter names."""
    url = f"sqlite+aiosqlite:///{project}/bookshop.db"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres_url")).replace("postgresql://", "postgresql+asyncpg://")
    return {"DATABASE_URL": url, "ONWARD_DATABASE__URL": url, "MAIL_DIR": str(project / "mail")}


@contextmanager
def served(installed: Environment, project: Path, server: str, variables: dict[str, str]) -> Iterator[str]:
    """Serve the bookshop until the end of the block, which SIGTERM brings about; return its address."""
    for made in (["python", "-m", "bookshop"], ["onward", "migrate"]):
        done = installed.run(*made, project=project, **variables)
        assert done.returncode == 0, done.stderr
    port = free_port()
    words = f"{COMMANDS[server]} {PROCESSES[server]} {ADDRESSES[server].format(port=port)}".split()
    log = project / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [installed.python, "-m", *words],  # not every package there has its programs in bin/
            cwd=project,
            env=installed.variables(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its own processes end with it, if a test fails
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or answers(address), START_TIMEOUT_S)
        assert process.poll() is None, log.read_text()
        yield address
        process.terminate()
        process.wait(START_TIMEOUT_S)
        assert "Traceback" not in log.read_text().partition("Shutting down")[2], log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/jobs/").status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def run_tests(installed: Environment, project: Path, address: str, variables: dict[str, str]) -> None:
    command = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = installed.run(*command, project=project, BOOKSHOP_URL=address, **variables)
    assert done.returncode == 0, done.stdout[-6000:] + (project / "server.log").read_text()[-6000:]
    assert "11 passed" in done.stdout


@pytest.mark.parametrize("variables", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("server", PROCESSES)
def test_the_bookshop_s_tests_pass_under(
    server: str, installed: Environment, project: Path, variables: dict[str, str]
) -> None:
    with served(installed, project, server, variables) as address:
        run_tests(installed, project, address, variables)


@pytest.mark.parametrize("variables", ["sqlite", "postgresql"], indirect=True)
def test_the_bookshop_s_tests_pass_with_workers_behind_redis(
    installed: Environment, project: Path, variables: dict[str, str], redis_url: str, namespace: str
) -> None:
    """The workers send the mail; the server runs no job."""
    variables |= {
        "ONWARD_BACKEND": "dramatiq",
        "ONWARD_BACKENDS__DRAMATIQ__URL": redis_url,
        "ONWARD_BACKENDS__DRAMATIQ__NAMESPACE": namespace,
    }
    with ExitStack() as stack:
        address = stack.enter_context(served(installed, project, "uvicorn", variables))
        worker = stack.enter_context(serving(installed, project, "worker", "--processes", "1", **variables))
        run_tests(installed, project, address, variables)
        assert worker.end() == 0
