"""A reader who types the commands of a page, in a folder that looks like a fresh clone."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.fences import Fence
from tests.processes import ROOT, Running, environment
from tests.servers import free_port

DONE = "--- done ---"
ADDRESS = "127.0.0.1:8000"
WAIT_TIMEOUT_S = 10.0


class Reader:
    """Two terminals: one for servers, one for commands that end."""

    def __init__(self, folder: Path, **variables: str) -> None:
        for name in ("onward", "gql", "handlers", "database"):
            (folder / name).symlink_to(ROOT / name)
        shutil.copy(ROOT / "settings.toml", folder)
        self._folder = folder
        self._port = str(free_port())
        installed = folder / "bin" / "onward"  # takes the present folder as the project, as an installation does
        installed.parent.mkdir()
        installed.write_text(f'#!/bin/sh\nunset ONWARD_PROJECT\nexec {sys.executable} -P -m onward "$@"\n', "utf-8")
        installed.chmod(0o755)
        path = variables.pop("PATH", os.environ["PATH"])
        self._environment = environment(  # the project is found by its own folder alone, as in a clone
            PYTHONPATH="",
            PATH=f"{installed.parent}{os.pathsep}{path}",
            ONWARD_PROJECT=str(folder),
            ONWARD_SERVER__PORT=self._port,
            COLUMNS="120",
            **variables,
        )
        self._going: Running | None = None
        self._shell = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=self._environment,
            text=True,
        )

    def write(self, fence: Fence) -> None:
        """Write the file whose text the block is."""
        file = self._folder / str(fence.file)
        file.parent.mkdir(exist_ok=True)
        file.write_text(fence.text, "utf-8")

    def start(self, command: str) -> None:
        """Start the command, after the one before has been stopped."""
        self.stop()
        log = self._folder / f"terminal-{len(list(self._folder.glob('terminal-*')))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=self._environment,
            )
        self._going = Running(process, log)
        self._going.wait_for(" serving ")

    def type(self, command: str) -> str:
        """Run the command and return its output."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command.replace(ADDRESS, f'127.0.0.1:{self._port}')}\necho '{DONE}'\n")
        self._shell.stdin.flush()
        printed = ""
        while not printed.endswith(f"{DONE}\n"):
            line = self._shell.stdout.readline()
            assert line, f"the shell ended: {printed}"
            printed += line
        return printed.removesuffix(f"{DONE}\n").replace(str(self._folder), "~/onward")

    def address(self) -> str:
        """Return the address of the first terminal's server."""
        return f"http://127.0.0.1:{self._port}"

    def set(self, variable: str, value: str) -> None:
        """Set the variable for all later commands."""
        self._environment[variable] = value
        self.type(f"export {variable}='{value}'")

    def stop(self) -> None:
        """Press Ctrl-C in the first terminal; its server must end well, or by the page's own `kill -9`."""
        if self._going is not None:
            self._going.process.send_signal(signal.SIGINT)
            assert self._going.process.wait(WAIT_TIMEOUT_S * 3) in {0, -signal.SIGKILL}, self._going.output()
            self._going = None

    def leave(self) -> None:
        self._shell.kill()
        self._shell.communicate()
        if self._going is not None:
            self._going.process.kill()
            self._going.process.wait()


@contextmanager
def reading(folder: Path, **variables: str) -> Iterator[Reader]:
    """Give a reader, until the block ends."""
    reader = Reader(folder, **variables)
    try:
        yield reader
    finally:
        reader.leave()
