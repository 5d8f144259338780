"""`./onward new handler` writes code that runs, and leaves existing files alone."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from onward.cli import module_list
from tests import application
from tests.processes import ROOT, environment, graphql, onward, running, wait_until

pytestmark = pytest.mark.slow

NOT_OURS = ("app.py", "settings.py", "worker.py", "redis.py", "email.py")
SEND = 'mutation { ordersConfirm(input: {text: "pen and ink"}) { job { id } errors { message } } }'
JOB = "query ($id: ID!) { job(id: $id) { status result done } }"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An older folder, with modules that have our names and the libraries'."""
    for name in NOT_OURS:
        (tmp_path / name).write_text('raise SystemExit("this one was not meant")\n', "utf-8")
    application.write(tmp_path, "[server]\nport = 0\n")
    return tmp_path


def test_the_generated_test_passes_and_the_mutation_s_job_succeeds(project: Path) -> None:
    """The folder has an `app.py` and a `settings.py` of its own."""
    output = onward("new", "handler", "orders.confirm", project=project)
    assert output.returncode == 0, output.stderr
    assert 'added to settings.toml: [handlers] modules = ["orders_confirm"]' in output.stdout
    run = subprocess.run(
        [sys.executable, str(ROOT / "onward"), "--project", str(project), "test"],
        env=environment(),
        cwd=project.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout
    with running("serve", project=project) as api:
        address = api.serving()
        job = graphql(address, SEND)["ordersConfirm"]["job"]["id"]
        wait_until(lambda: graphql(address, JOB, id=job)["job"]["done"])
        assert graphql(address, JOB, id=job)["job"]["result"] == {"words": 3}


@pytest.mark.long
def test_a_test_file_is_run_by_its_path_from_any_folder(project: Path) -> None:
    onward("new", "handler", "orders.confirm", project=project)
    run = subprocess.run(
        [sys.executable, str(ROOT / "onward"), "test", f"{project.name}/test_orders_confirm.py", "-k", "error"],
        env=environment(),
        cwd=project.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed, 2 deselected" in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("confirm", "must look like `family.name`"),
        ("Orders.confirm", "must look like `family.name`"),
        ("../orders.confirm", "must look like `family.name`"),
        ("orders." + "x" * 200, "at most 100 characters"),
        ("orders.cancel_", "'ordersCancel_' is no name of a mutation"),
        ("orders.a__b", "write single dots and underscores"),
        ("email.welcome", "there is a handler email.welcome already"),
        ("process.item", "there is a mutation processItem already"),
        ("prometheus.client", "there is a module prometheus_client already"),
        ("orders.there", "orders_there.py exists already"),
    ],
)
def test_an_invalid_name_is_refused_in_one_line_and_no_file_is_written(name: str, words: str, project: Path) -> None:
    (project / "orders_there.py").write_text("mine = 1\n", "utf-8")
    before = {file.name: file.read_text("utf-8") for file in project.iterdir()}
    output = onward("new", "handler", name, project=project)
    assert (output.returncode, output.stdout) == (2, "")
    assert words in output.stderr
    assert output.stderr.count("\n") == 1
    assert {file.name: file.read_text("utf-8") for file in project.iterdir()} == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "backend = 'background'",
        (ROOT / "settings.toml").read_text("utf-8"),
        '[handlers]\nmodules = ["one"] # those\n[gql]\nmodules = []\n',
        '[handlers]\n# all\nmodules = [\n    "one", # this\n    "two",\n]\n',
        "[handlers]\n[gql.limits]\ndepth = 5\n",
    ],
)
def test_a_module_is_added_to_the_settings_and_nothing_else_changes(text: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text, "utf-8")
    before = tomllib.loads(text)
    assert module_list.add(file, "handlers", "orders")
    after = tomllib.loads(file.read_text("utf-8"))
    assert after["handlers"].pop("modules") == ["orders", *before.get("handlers", {}).pop("modules", [])]
    assert {"handlers": {}} | before == after
    comments = [line for line in text.splitlines() if "#" in line]
    assert all(line.partition("#")[2] in file.read_text("utf-8") for line in comments)


def test_settings_in_another_form_are_not_edited(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("handlers = { modules = [] }\n", "utf-8")
    assert not module_list.add(file, "handlers", "orders")
    assert file.read_text("utf-8") == "handlers = { modules = [] }\n"
