"""Node.js with the usual GraphQL clients, installed at first use."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import application
from tests.processes import ROOT, running

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
PACKAGE = ROOT / "clients" / "typescript"
Run = Callable[..., Any]


def missing(words: str) -> NoReturn:
    """Skip the test if a tool is missing; fail it if CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="session")
def node() -> Run:
    """Run a script of this folder to its end; return the value in its last line."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        missing("needs Node.js 20 or newer, with npm")
    with (HERE / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process waits here, then finds the work done
        wanted = hashlib.sha256(lock.read()).hexdigest()
        mark = MODULES / ".onward"
        if not mark.exists() or mark.read_text("utf-8") != wanted:
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            installed = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=600, check=False)
            if installed.returncode:
                missing(f"needs the packages of tests/system/clients: {installed.stderr[-500:]}")
            mark.write_text(wanted, "utf-8")
        build_package(program)

    def run(*arguments: object, cwd: Path = HERE) -> Any:
        output = subprocess.run(
            [program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
        )
        assert output.returncode == 0, output.stderr[-3000:] + output.stdout[-1000:]
        lines = output.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines and lines[-1][:1] in "{[" else lines

    return run


def build_package(node: str) -> None:
    """Build clients/typescript beside the other packages, unless it is built; as `npm install` would lay it there."""
    built = MODULES / "onward-client"
    sources = sorted([*PACKAGE.glob("*.json"), *PACKAGE.glob("src/*.ts")])
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    mark = built / ".onward"
    if mark.exists() and mark.read_text("utf-8") == wanted:
        return
    shutil.rmtree(built, ignore_errors=True)
    shutil.copytree(PACKAGE, built, ignore=shutil.ignore_patterns("node_modules", "dist", "test"))
    compiler = [node, str(MODULES / "typescript" / "bin" / "tsc"), "-p", "tsconfig.build.json"]
    output = subprocess.run(compiler, cwd=built, capture_output=True, text=True, timeout=300, check=False)
    assert output.returncode == 0, output.stdout[-3000:]
    mark.write_text(wanted, "utf-8")


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of `./onward serve`, which all tests share."""
    folder = tmp_path_factory.mktemp("onward")
    application.write(folder)
    with running("serve", "--port", "0", project=folder) as server:
        yield f"{server.serving()}/graphql"
