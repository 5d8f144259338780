"""The published package works with its extras and for type checkers when it is installed by pip, as users do it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.fences import fences
from tests.processes import ROOT, graphql, wait_until
from tests.system.package import environments
from tests.system.package.environments import Environment
from tests.system.package.fixtures import Package
from tests.system.package.served import serving

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
SEND = 'mutation { printLetter(input: {name: "Ada", copies: 2}) { job { id } errors { message } } }'
JOB = "query ($id: ID!) { job(id: $id) { status } }"
PAGES = ("handlers.md", "mutations.md")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The handlers and the mutation that the pages show."""
    folder = tmp_path / "project"
    folder.mkdir()
    for page in PAGES:
        for fence in fences(ROOT / "docs" / page):
            if fence.file is not None:
                (folder / fence.file).write_text(fence.text)
    (folder / "settings.toml").write_text('[handlers]\nmodules = ["letters"]\n[gql]\nmodules = ["letters_api"]\n')
    return folder


def clone_of(folder: Path) -> Path:
    """Clone the commit that is checked out, outside of the clone."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "clone"], check=True)
    return folder / "clone"


@pytest.mark.parametrize("source", ["wheel", "clone", "git"])
def test_pip_installs_it_and_a_folder_is_served(source: str, package: Package, project: Path, tmp_path: Path) -> None:
    """PyPI's `gql`, which has the name of one of the application's packages, is installed beside it."""
    named = {
        "wheel": lambda: str(package.wheel),
        "clone": lambda: str(clone_of(tmp_path)),
        "git": lambda: f"git+file://{ROOT}",
    }
    installed = environments.empty(tmp_path / "venv")
    before = set(installed.packages.iterdir())
    environments.install(installed, "gql", named[source]())
    gained = {path.name for path in set(installed.packages.iterdir()) - before}
    assert {name for name in gained if name.startswith(("onward", "database", "handlers", "jobs", "settings"))} == {
        "onward",
        next(name for name in gained if name.startswith("onward-")),
    }
    (project / "letters.py").write_text((project / "letters.py").read_text() + "\n\nfrom gql import Client as Client\n")
    with serving(installed, project) as api:
        _does_a_job(api.serving())
        assert api.end() == 0


@pytest.fixture
def servers(postgres_url: str, redis_url: str, namespace: str) -> dict[str, str]:
    """The settings that name PostgreSQL and Dramatiq."""
    return {
        "ONWARD_BACKEND": "dramatiq",
        "ONWARD_BACKENDS__DRAMATIQ__URL": redis_url,
        "ONWARD_BACKENDS__DRAMATIQ__NAMESPACE": namespace,
        "ONWARD_DATABASE__URL": postgres_url,
    }


def test_jobs_are_done_over_postgresql_and_dramatiq(
    package: Package, project: Path, tmp_path: Path, servers: dict[str, str]
) -> None:
    installed = environments.make(tmp_path / "venv", package.wheel, "dramatiq", "postgres")
    assert installed.run("onward", "migrate", project=project, **servers).returncode == 0
    with (
        serving(installed, project, **servers) as api,
        serving(installed, project, "worker", "--processes", "1", **servers) as worker,
    ):
        _does_a_job(api.serving())
        assert worker.end() == 0
        assert api.end() == 0


def test_type_checkers_accept_the_folder(tested: Environment, project: Path) -> None:
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(tested.python)]
    done = subprocess.run([*mypy, "."], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    checker = environments.empty(project.parent / "pyright")
    environments.install(checker, "basedpyright")
    (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "include": ["."]}')
    command = ("basedpyright", "--pythonpath", str(tested.python), "--level", "error")
    output = checker.run(*command, project=project)
    assert output.returncode == 0, output.stdout + output.stderr


def _does_a_job(address: str) -> None:
    payload = graphql(address, SEND)["printLetter"]
    assert payload["errors"] == []
    wait_until(lambda: graphql(address, JOB, id=payload["job"]["id"])["job"]["status"] == "SUCCEEDED")
