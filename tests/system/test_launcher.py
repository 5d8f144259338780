"""The launcher on its own, copied beside a small program, so that installs are cheap."""

import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.processes import ROOT, environment
from tests.terminals import on_a_terminal

PROGRAM = """import os, sys
from pathlib import Path

print(Path(__file__).parents[2])
print(os.getcwd())
print(*sys.argv[1:])
sys.exit(7)
"""
PYPROJECT = """[build-system]
requires = []
build-backend = "building"
backend-path = ["."]

[project]
name = "onward"
version = "0"
"""
# As hatchling does it: the wheel names the folder that the package is imported from.
BUILDING = """import os, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    files = {
        "onward.pth": os.path.abspath("src"),
        "onward-0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: onward\\nVersion: 0\\n",
        "onward-0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = "onward-0.dist-info/RECORD"
    with zipfile.ZipFile(os.path.join(folder, "onward-0-py3-none-any.whl"), "w") as wheel:
        for name, text in {**files, record: "".join(f"{name},,\\n" for name in [*files, record])}.items():
            wheel.writestr(name, text)
    return "onward-0-py3-none-any.whl"
"""
INSTALLING = "installing requirements.txt"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the launcher has run once."""
    root = tmp_path_factory.mktemp("made")
    lay_out(root)
    first = launch(root)
    assert INSTALLING in first.stderr
    return root


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which the launcher has not run yet."""
    root = tmp_path / "checkout"
    lay_out(root)
    return root


def lay_out(root: Path) -> None:
    root.mkdir(exist_ok=True)
    shutil.copy(ROOT / "onward", root / "onward")
    package = root / "src" / "onward"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "building.py").write_text(BUILDING)
    for lock in ("requirements.txt", "requirements-dev.txt"):
        (root / lock).touch()


def launch(root: Path, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "onward"), *arguments],
        cwd=cwd or root,
        env={**environment(**variables), "PYTHONPATH": variables.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        check=False,
    )


def as_module(root: Path) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("launcher", str(root / "onward"))
    spec = importlib.util.spec_from_loader("launcher", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def another_program(folder: Path) -> None:
    """A package of our name that is not the launcher's own."""
    (folder / "onward").mkdir()
    (folder / "onward" / "__main__.py").write_text("raise RuntimeError('not the launcher's own')")


@pytest.mark.slow
def test_the_program_starts_with_its_root_first_in_the_same_folder(made: Path, tmp_path: Path) -> None:
    another_program(tmp_path)
    outcome = launch(made, "jobs", "list", cwd=tmp_path)
    assert outcome.stdout.splitlines() == [str(made), str(tmp_path), "jobs list"]
    assert outcome.returncode == 7


@pytest.mark.slow
def test_the_launcher_may_be_called_through_a_link(made: Path, tmp_path: Path) -> None:
    (tmp_path / "onward").symlink_to(made / "onward")
    assert launch(tmp_path).stdout.splitlines()[0] == str(made)


@pytest.mark.slow
def test_the_root_comes_before_the_shell_s_pythonpath(made: Path, tmp_path: Path) -> None:
    another_program(tmp_path)
    assert launch(made, PYTHONPATH=str(tmp_path)).stdout.splitlines()[0] == str(made)


@pytest.mark.slow
def test_a_second_start_installs_nothing(made: Path) -> None:
    assert launch(made).stderr == ""


@pytest.mark.slow
def test_a_start_without_an_install_imports_no_installer(made: Path) -> None:
    launch(made)
    output = subprocess.run(
        [sys.executable, "-X", "importtime", str(made / "onward")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in output.stderr.splitlines()}
    assert "hashlib" in imported
    assert not imported & {"subprocess", "tempfile", "typing", "venv"}


@pytest.mark.slow
def test_a_changed_lock_is_installed(made: Path) -> None:
    (made / "requirements.txt").write_text("# changed\n")
    assert INSTALLING in launch(made).stderr
    assert launch(made).stderr == ""


@pytest.mark.slow
def test_a_failed_install_is_reported_and_repeated(made: Path) -> None:
    (made / "requirements.txt").write_text("onward-none @ file:///nowhere --hash=sha256:00\n")
    failed = launch(made)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].startswith("onward: could not install requirements.txt")
    assert "without a network, give it a folder of wheels" in failed.stderr
    (made / "requirements.txt").write_text("")
    assert INSTALLING in launch(made).stderr


@pytest.mark.slow
def test_a_terminal_shows_the_progress_and_errors_of_an_install(made: Path) -> None:
    (made / "requirements.txt").write_text("six==1.16.0\n")
    code, shown = on_a_terminal([sys.executable, str(made / "onward")], variables=environment(TERM="xterm"))
    assert code == 2
    assert "] 1 packages, 0 found" in shown
    assert "hash" in shown
    assert shown.splitlines()[-1].startswith("onward: could not install requirements.txt")
    (made / "requirements.txt").write_text("")


@pytest.mark.slow
def test_a_package_without_a_hash_is_not_installed(made: Path) -> None:
    (made / "requirements.txt").write_text("six==1.16.0\n")
    assert launch(made).returncode == 2
    (made / "requirements.txt").write_text("")


@pytest.mark.long
def test_two_simultaneous_starts_install_once(checkout: Path) -> None:
    starts = [
        subprocess.Popen(
            [sys.executable, str(checkout / "onward")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [start.communicate(timeout=100) for start in starts]
    assert [start.returncode for start in starts] == [7, 7]
    assert sum(INSTALLING in error for _, error in said) == 1


@pytest.mark.long
def test_an_install_compiles_the_modules_if_a_start_may_not_write_bytecode(checkout: Path) -> None:
    """Each start in a container would compile them again. Files that are not Python do no harm."""
    jobs = checkout / "src" / "onward" / "jobs"
    jobs.mkdir()
    (jobs / "__init__.py").touch()
    (jobs / "broken.py").write_text("class")
    outcome = launch(checkout, PYTHONDONTWRITEBYTECODE="1")
    assert outcome.returncode == 7
    assert len(outcome.stderr.splitlines()) == 1
    assert list((jobs.parent / "__pycache__").glob("__main__.*.pyc"))
    assert list((jobs / "__pycache__").glob("__init__.*.pyc"))


@pytest.mark.long
def test_a_moved_checkout_gets_a_new_venv(made: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(made, tmp_path / "moved", symlinks=True))
    assert INSTALLING in launch(moved).stderr
    assert launch(moved).stdout.splitlines()[0] == str(moved)


@pytest.mark.slow
def test_the_test_command_passes_its_arguments_on_and_gives_1_when_a_part_fails(made: Path) -> None:
    launch(made, "test", "--version")
    for name, code in (("ruff", 0), ("mypy", 1), ("lint-imports", 0), ("pytest", 0)):
        tool = made / ".venv" / "bin" / name
        tool.write_text(f'#!/bin/sh\necho {name} "$@"\nexit {code}\n')
        tool.chmod(0o755)
    some = launch(made, "test", "-k", "word")
    assert (some.returncode, some.stdout) == (0, "pytest -k word\n")
    whole = launch(made, "test")
    assert whole.returncode == 1
    faults = "pytest tests/system/faults tests/system/soak -m alone and "
    assert whole.stdout.splitlines()[-1] == f"{faults}(not long and not slow)"
    assert launch(made, "test", "--slow").stdout.splitlines()[-1] == f"{faults}(not long)"
    assert launch(made, "test", "--slow", "-k", "word").stdout == "pytest -m not long -k word\n"
    assert whole.stderr.splitlines()[-1] == "onward: failed: types, launcher types"


@pytest.mark.slow
def test_a_terminated_test_command_interrupts_what_runs_and_begins_no_other_part(made: Path) -> None:
    launch(made, "test", "--version")
    waits = "trap 'echo interrupted; exit 2' INT; echo begun; while :; do sleep 0.1; done"
    for name, does in (("ruff", "exit 0"), ("mypy", "exit 0"), ("lint-imports", "exit 0"), ("pytest", waits)):
        tool = made / ".venv" / "bin" / name
        tool.write_text(f"#!/bin/sh\n{does}\n")
        tool.chmod(0o755)
    command = [sys.executable, str(made / "onward"), "test"]
    with subprocess.Popen(command, cwd=made, env=environment(), stdout=subprocess.PIPE, text=True) as testing:
        assert testing.stdout is not None
        assert testing.stdout.readline() == "begun\n"
        testing.terminate()
        assert testing.stdout.read() == "interrupted\n"
        assert testing.wait(20) == 128 + signal.SIGTERM


def test_a_part_that_begins_as_the_tests_are_stopped_is_interrupted(checkout: Path) -> None:
    """The signal may come before the part is known to run."""
    module = as_module(checkout)
    tool = module.VENV / "bin" / "pytest"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\nexec sleep 100\n")
    tool.chmod(0o755)
    module.STOPPED.append(signal.SIGTERM)
    assert module.run(["pytest"], checkout, environment()) == -signal.SIGINT
    assert module.RUNNING == []


@pytest.mark.long
def test_faults_installs_its_test_servers(checkout: Path) -> None:
    said = launch(checkout, "faults", "--seed", "1")
    assert "installing requirements-dev.txt" in said.stderr
    assert said.stdout.splitlines()[-1] == "faults --seed 1"


def test_a_venv_without_permission_is_reported_in_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root has installed it, for example, on a Python in root's own folder."""
    module = as_module(checkout)
    module.PYTHON.parent.mkdir(parents=True)
    module.PYTHON.symlink_to(sys.executable)
    module.stamp(module.PYPROJECT).write_text(module.fingerprint(module.PYPROJECT))  # as an install leaves it

    def hidden(_lock: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(module.PYTHON))

    monkeypatch.setattr(module, "is_installed", hidden)
    with pytest.raises(SystemExit) as end:
        module.run_in_line(["serve"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"this user may not use {module.PYTHON}" in line


def test_a_python_without_venv_is_reported_with_the_missing_package(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match="2"):
        as_module(checkout).make_venv()
    package = "python{}.{}-venv".format(*sys.version_info)
    assert f"apt-get install {package}" in capsys.readouterr().err


def test_an_old_python_looks_for_a_newer_one_and_says_if_there_is_none(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    broken = shims / "python3.13"  # as pyenv's are, without their Python
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(shims))
    launcher = as_module(checkout)
    with pytest.raises(SystemExit, match="2"):
        launcher.become_newer([])
    assert capsys.readouterr().err.count("\n") == 1

    (shims / "python3.12").symlink_to(sys.executable)
    became: list[object] = []

    def execvp(*given: object) -> None:
        became.append(given)
        sys.exit(0)

    monkeypatch.setattr(os, "execvp", execvp)
    with pytest.raises(SystemExit, match="0"):
        launcher.become_newer(["serve"])
    assert became == [("python3.12", ["python3.12", str(checkout / "onward"), "serve"])]


def test_the_locks_name_no_address_and_have_all_hashes() -> None:
    for lock in (ROOT / "requirements.txt", ROOT / "requirements-dev.txt"):
        lines = lock.read_text("utf-8").splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")]
        pinned = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert pinned
        assert all("==" in line and line.endswith("\\") for line in pinned)


def test_no_lock_of_npm_names_an_address() -> None:
    folders = ("clients/*", "examples/*", "src/onward/web/*", "tests/system/*")
    locks = [lock for folder in folders for lock in ROOT.glob(f"{folder}/package-lock.json")]
    assert len(locks) >= 5
    assert [str(lock) for lock in locks if "://" in lock.read_text("utf-8")] == []


def test_the_locks_match_the_project_s_dependencies() -> None:
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = project["dependency-groups"]
    included = [name for one in groups["dev"] if isinstance(one, dict) for name in groups[one["include-group"]]]
    asked = {
        "requirements.txt": project["project"]["dependencies"],
        "requirements-dev.txt": [*(one for one in groups["dev"] if isinstance(one, str)), *included],
    }
    for lock, wanted in asked.items():
        pins = [line.split("\\")[0] for line in (ROOT / lock).read_text("utf-8").splitlines() if "==" in line]
        held = {pin.name: pin for pin in map(Requirement, pins)}
        for requirement in map(Requirement, wanted):
            version = next(iter(held[requirement.name.lower()].specifier)).version
            assert requirement.specifier.contains(version), requirement
