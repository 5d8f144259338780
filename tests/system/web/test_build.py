"""The builds, with an npm and a vite of the test's own: real processes, a real folder, no network."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from onward.api.server import bundle_builds
from onward.config.settings import load
from onward.web import build
from tests import application
from tests.processes import command_line, wait_until

PACKAGE = Path(__file__).resolve().parents[3] / "src" / "onward"
NPM = """#!/bin/sh
echo npm "$@" >> "$RECORD"
test -z "$NPM_FAILS" || { echo "npm error code EXAMPLE" >&2; exit 1; }
mkdir -p node_modules
sleep 0.3
"""
NODE = """#!/bin/sh
echo node "$@" >> "$RECORD"
mkdir -p "$4/assets" && echo "built" > "$4/assets/index-1.js"
echo '{"index.html": {"file": "assets/index-1.js", "isEntry": true, "css": []}}' > "$4/manifest.json"
"""


class Workshop:
    """A copy of the package, with programs that note when they are called, for the builds of one bundle."""

    def __init__(self, folder: Path, bundle: str) -> None:
        self.bundle = bundle
        self.package = folder / "onward" / "web"
        self.record = folder / "record"
        self.record.touch()
        self.programs = folder / "bin"
        shutil.copytree(
            PACKAGE / "web",
            self.package,
            ignore=shutil.ignore_patterns("node_modules", "__pycache__", "assets", "current.json", "build.log"),
        )
        shutil.copy(PACKAGE / "__init__.py", self.package.parent)
        self.programs.mkdir()
        for name, script in (("npm", NPM), ("node", NODE)):
            (self.programs / name).write_text(script)
            (self.programs / name).chmod(0o755)

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        """Start `python -m onward.web.build` for the bundle."""
        variables = {"PATH": f"{self.programs}:/usr/bin:/bin", "RECORD": str(self.record), **environment}
        return subprocess.Popen(
            [sys.executable, "-m", "onward.web.build", self.bundle],
            cwd=self.package.parent.parent,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **environment: str) -> tuple[int, str]:
        """Run the build; return its exit code and its output on stderr."""
        process = self.start(**environment)
        _, words = process.communicate(timeout=30)
        return process.returncode, words

    @property
    def shown(self) -> dict[str, str] | None:
        file = self.package / "static" / self.bundle / "current.json"
        return json.loads(file.read_text()) if file.exists() else None

    @property
    def sources(self) -> Path:
        return self.package / self.bundle

    @property
    def calls(self) -> list[str]:
        return [line.split()[0] for line in self.record.read_text().splitlines()]


@pytest.fixture(params=[bundle.name for bundle in build.BUNDLES])
def workshop(request: pytest.FixtureRequest, tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, request.param)


def test_a_build_is_shown_and_leaves_no_packages_behind(workshop: Workshop) -> None:
    assert workshop.run() == (0, "")
    assert workshop.shown is not None
    assert (workshop.package / "static" / workshop.shown["script"]).read_text() == "built\n"
    assert not (workshop.sources / "node_modules").exists()
    assert "--ignore-scripts" in workshop.record.read_text()


def test_two_simultaneous_starts_build_once(workshop: Workshop) -> None:
    both = [workshop.start(), workshop.start()]
    for process in both:
        process.communicate(timeout=30)
    assert [process.returncode for process in both] == [0, 0]
    assert workshop.calls == ["npm", "node"]


@pytest.mark.slow
def test_a_changed_source_is_built_again_and_an_unchanged_one_is_not(workshop: Workshop) -> None:
    workshop.run()
    workshop.run()
    assert workshop.calls == ["npm", "node"]
    before = workshop.shown
    (workshop.sources / "src" / "further.js").write_text("export const tabs = [];\n")
    workshop.run()
    assert workshop.calls == ["npm", "node"] * 2
    assert workshop.shown != before


def test_a_shared_file_that_changes_is_built_in_again(workshop: Workshop) -> None:
    workshop.run()
    before = workshop.shown
    (workshop.package / "static" / "shared" / "operations.js").write_text("export const tabs = [];\n")
    workshop.run()
    assert workshop.calls == ["npm", "node"] * 2
    assert workshop.shown != before


def test_without_a_name_all_are_built_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, "")
    (workshop.programs / "npm").write_text(NPM.replace('test -z "$NPM_FAILS"', 'test "${PWD##*/}" != console'))
    code, words = workshop.run()
    assert code == 1
    assert "the console: `npm ci` ended with 1" in words
    assert (workshop.package / "static" / "explorer" / "current.json").exists()
    assert not (workshop.package / "static" / "console" / "current.json").exists()


def test_a_failed_build_gives_its_reason_and_keeps_the_old_one(workshop: Workshop) -> None:
    workshop.run()
    before = workshop.shown
    (workshop.sources / "src" / "further.js").write_text("")
    code, words = workshop.run(NPM_FAILS="yes")
    assert code == 1
    assert "npm error code EXAMPLE" in words
    assert workshop.shown == before


def test_without_npm_it_says_what_to_install(workshop: Workshop) -> None:
    (workshop.programs / "npm").unlink()
    code, words = workshop.run(PATH=str(workshop.programs))
    assert code == 1
    assert "install Node.js" in words
    assert "Traceback" not in words


def test_on_a_read_only_file_system_no_build_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts without it. A file in the folder's place refuses root as well."""
    (tmp_path / "static").touch()
    monkeypatch.setattr(build, "STATIC", tmp_path / "static")
    monkeypatch.setattr(build, "available", lambda: True)
    assert build.build_in_background() is None


SERVER = """
import os, subprocess, sys, time
from onward.web import build

start = subprocess.Popen

def forking(*given, **options):
    started = start(*given, **options)
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    return started

if sys.argv[1] == "forks":
    subprocess.Popen = forking
build.build_in_background()
input()
"""


@pytest.mark.parametrize("forks", [True, False])
def test_a_build_ends_with_its_server(workshop: Workshop, *, forks: bool) -> None:
    """Any end of the server ends npm, too, and the downloaded packages are removed.

    Also where a process lives on that the server has forked just then.
    """
    (workshop.programs / "npm").write_text(
        '#!/bin/sh\nmkdir -p node_modules\necho $$ > "$RECORD.pid"\nmv "$RECORD.pid" "$RECORD"\nsleep 600\n'
    )
    variables = {"PATH": f"{workshop.programs}:{os.environ['PATH']}", "RECORD": str(workshop.record)}
    variables["PYTHONPATH"] = str(workshop.package.parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, "forks" if forks else ""],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as server:
        try:
            wait_until(workshop.record.read_text)
            npm = Path(f"/proc/{workshop.record.read_text().strip()}")
            assert npm.exists()
        finally:
            server.kill()
    try:
        wait_until(lambda: not command_line(npm))
        wait_until(lambda: not (workshop.sources / "node_modules").exists())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    assert workshop.shown is None


def test_a_server_in_production_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Production has no explorer, and a package brings the console."""
    static = tmp_path / "static"
    static.mkdir()
    monkeypatch.setattr(build, "STATIC", static)
    monkeypatch.setattr(build, "available", lambda: True)
    application.write(tmp_path, 'environment = "production"\n[auth]\nallow_public = true\n')
    assert all(bundle.needed() for bundle in build.BUNDLES)
    assert bundle_builds(load(tmp_path)) is None
    assert list(static.iterdir()) == []


def test_an_installed_package_has_nothing_to_build_from_and_says_so(workshop: Workshop) -> None:
    """A wheel holds the finished build in place of its sources."""
    shutil.rmtree(workshop.sources)
    code, words = workshop.run()
    assert (code, workshop.calls) == (1, [])
    assert "this installation holds no sources" in words
