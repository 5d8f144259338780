"""A project that the installed package writes works at once, on each backend, and type checkers accept it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.fences import fences
from tests.processes import graphql, wait_until
from tests.system.package import environments
from tests.system.package.environments import Environment
from tests.system.package.fixtures import Package, hatchling
from tests.system.package.served import serving

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
JOB = "query ($id: ID!) { job(id: $id) { status output { ... on Receipt { order items } } } }"


def new_project(environment: Environment, folder: Path) -> Path:
    written = environment.run("onward", "new", "project", "shop", project=folder)
    assert written.returncode == 0, written.stderr
    return folder / "shop"


def does_a_job(address: str, shop: Path) -> None:
    """Run a job by the mutation of the README."""
    operation, _ = (fence.text for fence in fences(shop / "README.md") if fence.language == "graphql")
    payload = graphql(address, operation)["ordersConfirm"]
    assert payload["errors"] == []
    job = payload["job"]["id"]
    wait_until(lambda: graphql(address, JOB, id=job)["job"]["status"] == "SUCCEEDED")
    assert graphql(address, JOB, id=job)["job"]["output"] == {"order": "A-17", "items": 2}


def test_a_new_project_is_tested_and_served_at_once(tested: Environment, tmp_path: Path) -> None:
    shop = new_project(tested, tmp_path)
    assert tested.run("onward", "new", "handler", "orders.cancel", project=shop).returncode == 0
    done = tested.run("python", "-m", "pytest", "-q", project=shop)
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    for command in ("check", "migrate"):
        outcome = tested.run("onward", command, project=shop)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    with serving(tested, shop) as api:
        does_a_job(api.serving(), shop)
        assert api.end() == 0


def test_dramatiq_and_postgresql_serve_it_as_its_image_has_it(
    package: Package, tmp_path: Path, postgres_url: str, redis_url: str, namespace: str
) -> None:
    """The project's package is installed, and its settings lie alone in a folder."""
    installed = environments.make(tmp_path / "venv", package.wheel, "dramatiq", "postgres")
    shop = new_project(installed, tmp_path)
    hatchling(shop, "-t", "wheel", "-d", str(tmp_path))
    (wheel,) = tmp_path.glob("shop-*.whl")
    environments.install(installed, "--no-deps", "--no-index", str(wheel))
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(shop / "settings.toml", alone)
    servers = {
        "ONWARD_BACKEND": "dramatiq",
        "ONWARD_BACKENDS__DRAMATIQ__URL": redis_url,
        "ONWARD_BACKENDS__DRAMATIQ__NAMESPACE": namespace,
        "ONWARD_DATABASE__URL": postgres_url,
    }
    assert installed.run("onward", "migrate", project=alone, **servers).returncode == 0
    with (
        serving(installed, alone, **servers) as api,
        serving(installed, alone, "worker", "--processes", "1", **servers) as worker,
    ):
        does_a_job(api.serving(), shop)
        assert worker.end() == 0
        assert api.end() == 0


def test_type_checkers_and_the_linter_say_nothing(tested: Environment, tmp_path: Path) -> None:
    shop = new_project(tested, tmp_path)
    assert tested.run("onward", "new", "handler", "orders.cancel", project=shop).returncode == 0
    checker = environments.empty(tmp_path / "basedpyright")
    environments.install(checker, "basedpyright")
    pyright = [str(checker.folder / "bin" / "basedpyright"), "--pythonpath", str(tested.python)]
    mypy = [sys.executable, "-m", "mypy", "--python-executable", str(tested.python)]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (mypy, pyright, [*ruff, "check"], [*ruff, "format", "--check"]):
        output = subprocess.run(command, cwd=shop, capture_output=True, text=True, check=False)
        assert output.returncode == 0, output.stdout + output.stderr
        assert "warning" not in output.stdout.replace("0 warnings", ""), output.stdout
