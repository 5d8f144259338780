"""A project of release 0.1 works, with a warning for each former name that it imports."""

from importlib import import_module
from pathlib import Path

import pytest

from onward.runtime import former_names
from tests.docs.fences import fences
from tests.processes import graphql, wait_until
from tests.system.package.environments import Environment
from tests.system.package.served import serving

SETTINGS = """
[handlers]
modules = ["letters", "desk"]
[gql]
modules = ["letters_api", "greeter"]
"""
PRINT = """mutation ($input: PrintLetterInput!) {
  printLetter(input: $input) { replayed job { id status } errors { code path } }
}"""
WARNED = "a module has another name now"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for fence in fences(Path(__file__).with_name("former.md")):
        (tmp_path / str(fence.file)).write_text(fence.text)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    return tmp_path


@pytest.mark.parametrize(("former", "now"), former_names.MODULES.items())
def test_every_former_module_leads_to_a_present_one(former: str, now: str) -> None:
    import_module(now)
    assert former.rpartition(".")[0] in former_names.PACKAGES


@pytest.mark.parametrize("place", former_names.NAMES.values())
def test_every_former_name_leads_to_a_present_one(place: str) -> None:
    module, _, name = place.partition(":")
    assert hasattr(import_module(module), name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    ["background", "spool", "inline"],
)
def test_a_project_of_the_previous_release_runs_its_jobs(project: Path, base: Environment, backend: str) -> None:
    options = {"spool": f'folder = "{project / "spooled"}"', "inline": "places = 2"}
    if backend in options:
        table = f'[backends.{backend}]\nclass = "{backend}:{backend.title()}"\n{options[backend]}\n'
        (project / "settings.toml").write_text(f'backend = "{backend}"\n{SETTINGS}{table}')
    with serving(base, project) as api:
        address = api.serving()
        assert graphql(address, '{ greet(input: {name: "Ada"}) }') == {"greet": "Hello Ada, you are nobody"}
        payload = graphql(address, PRINT, input={"name": "Ada", "copies": 2})["printLetter"]
        assert payload["errors"] == []
        if backend == "spool":
            assert [file.name.split(".")[1] for file in (project / "spooled").iterdir()] == [payload["job"]["id"]]
        else:
            wait_until(lambda: _status(address, payload["job"]["id"]) == "SUCCEEDED")
        warned = [line for line in api.output().splitlines() if WARNED in line]
    modules = {"gql.acceptance", "gql.context", "gql.inputs", "gql.types.job", "gql.types.user_error"}
    modules |= {"gql.validation", "handlers.base", "jobs.model"} | ({"backends.base"} if backend in options else set())
    assert len(warned) == len(modules), warned
    assert all(any(f"{module} " in line or f"module={module}" in line for line in warned) for module in modules)


@pytest.mark.slow
def test_the_tests_of_a_former_project_pass(project: Path, tested: Environment) -> None:
    command = ("python", "-m", "pytest", "-q", "-p", "onward.testing.fixtures", "-p", "no:cacheprovider")
    (project / "settings.toml").write_text("")
    done = tested.run(*command, "test_letters.py", "test_letters_api.py", project=project)
    assert "5 passed" in done.stdout, done.stdout + done.stderr
    assert "testkit.kit is now onward.testing.app" in done.stdout


def _status(address: str, job: str) -> object:
    return graphql(address, "query ($id: ID!) { job(id: $id) { status } }", id=job)["job"]["status"]
