"""The image has all that it runs, and nothing else. No engine is asked: the steps are done in folders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import application
from tests.deploy.image import Step, make, steps
from tests.processes import ROOT, environment, running
from tests.test_launcher import as_module

ROOMS = {"backends", "gql", "handlers", "jobs", "storage", "telemetry", "web"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its files. What is fetched from elsewhere, packages of Python's and npm's, is done without."""

    def run(step: Step, working: Path) -> None:
        if step.stage == "packages":
            (working / ".venv" / "bin").mkdir(parents=True)
            (working / ".venv" / "bin" / "python").symlink_to(sys.executable)
        elif step.stage == "explorer":
            (working / "web" / "static" / "explorer").mkdir(exist_ok=True)
        elif step.rest.startswith("python "):
            command = f"{sys.executable} {step.rest.partition(' ')[2]}"
            subprocess.run(["bash", "-c", command], cwd=working, check=True)

    made = make(tmp_path_factory.mktemp("image"), run)
    launcher = as_module(made / "srv" / "onward")
    launcher.stamp(launcher.RUNTIME).write_text(launcher.fingerprint(launcher.RUNTIME))  # as after an installation
    return made


def test_the_image_holds_nothing_but_the_program(image: Path) -> None:
    inside = {path.name for path in (image / "srv" / "onward").iterdir()}
    modules = {file.name for file in ROOT.glob("*.py")}
    rest = {"onward", "pyproject.toml", "requirements.txt", "settings.toml", "deploy", ".venv", "__pycache__"}
    assert inside == ROOMS | modules | rest
    assert [file.name for file in (image / "srv" / "onward" / "deploy").iterdir()] == ["settings.toml"]


def test_the_image_serves_without_a_file_from_outside(image: Path, tmp_path: Path) -> None:
    """Nothing is missing of what the API imports, nor of what a worker does."""
    program = image / "srv" / "onward"
    application.write(tmp_path)
    with running("serve", "--port", "0", project=tmp_path, PYTHONPATH=str(program)) as api:
        api.serving()
        assert api.end() == 0
    code = (
        "import check, supervisor, terminal, worker, wiring, backends.dramatiq as d; print(worker.__file__, d.__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment(PYTHONPATH=str(program)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stderr == ""
    assert all(Path(file).is_relative_to(program) for file in found.stdout.split())


@pytest.mark.parametrize(
    "command",
    [
        ["onward", "test"],
        ["onward", "faults"],
        ["-Pm", "onward", "faults"],
        ["-Pm", "onward", "bench"],
        ["-Pm", "onward", "new", "handler", "orders.confirm"],
    ],
    ids=" ".join,
)
def test_a_command_of_what_the_image_leaves_out_says_so_in_one_line(image: Path, command: list[str]) -> None:
    program = image / "srv" / "onward"
    found = subprocess.run(
        [sys.executable, *command],
        env=environment(PYTHONPATH=str(program)),
        cwd=program,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert found.stderr.endswith("is not in this installation; run the command in a copy of the whole project\n")


def test_the_program_is_nobodys_to_change_and_runs_as_nobody() -> None:
    """Files are root's, and the process is not."""
    last = [step for step in steps() if step.stage == "last"]
    user = next(index for index, step in enumerate(last) if step.word == "USER")
    assert last[user].rest == "10001"
    assert not [step for step in last[user:] if step.word in {"COPY", "RUN"}]
    assert not [step for step in last if "--chown" in step.rest]


def test_the_launcher_finds_its_packages_where_they_were_made() -> None:
    """Else it would install them anew: the same Python, the same place."""
    bases = {step.stage: step.rest.partition(" AS ")[0] for step in steps() if step.word == "FROM"}
    places = {step.stage: step.rest for step in steps() if step.word == "WORKDIR"}
    assert (bases["packages"], places["packages"]) == (bases["last"], places["last"])
    assert os.access(ROOT / "onward", os.X_OK)
