"""Builds the bundles of npm packages, by vite: the console into `static/console/`, GraphiQL into `static/explorer/`.

Each build has a folder of its own, named by a stamp of its sources, and `current.json` says which one is shown. That
file is replaced in one step, so a page never sees half a build, and a page that is open keeps its files. The standard
library alone is needed. From a shell: `python -m onward.web.build`, or with the name of one of them.

Their sources are in a clone and in an sdist. A wheel holds the finished builds in their place, so an installed package
builds nothing.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onward.web.base import BuildFailed

HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"
NAMED = ("package.json", "package-lock.json", ".npmrc", "vite.config.js", "index.html", "tsconfig.json")
TIMEOUT_S = 900.0
KILL_AFTER_S = 5.0  # for npm to end, and for the packages to be removed
SERVER_CHECK_S = 0.2
BESIDE = "--beside"  # the option with the server's process id
_ended = threading.Event()  # in a build's own process: the server that wanted it is no more


class Built(NamedTuple):
    """A finished build: its stamp, and its files as paths below `static/`."""

    stamp: str
    script: str
    styles: tuple[str, ...]


def available() -> bool:
    """True if npm and node are on PATH; a build needs both."""
    return shutil.which("npm") is not None and shutil.which("node") is not None


class Bundle(NamedTuple):
    """The files of a page: sources in the folder of its name, builds in the folder of that name in `static/`."""

    name: str
    options: tuple[str, ...] = ()  # for `npm ci`
    further: str = ""  # a folder in `static/` that its sources import from

    @property
    def sources(self) -> Path:
        return HERE / self.name

    @property
    def output(self) -> Path:
        return STATIC / self.name

    def has_sources(self) -> bool:
        """True if the sources are here, as they are in a clone; an installed package has none."""
        return (self.sources / "package.json").is_file()

    def current(self) -> Built | None:
        """Return the published build, or None before the first one."""
        try:
            manifest = json.loads((self.output / "current.json").read_text("utf-8"))
            built = Built(manifest["stamp"], manifest["script"], tuple(manifest["styles"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return built if (STATIC / built.script).is_file() else None

    def running(self) -> bool:
        """True if a build is running, here or in another process."""
        try:
            with (self.output / ".lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no build has started yet
            return False
        return False

    def needed(self) -> bool:
        """True if there is no build, or its sources have changed since."""
        built = self.current()
        return built is None or built.stamp != self.stamp()

    def stamp(self) -> str:
        """Return a digest of all sources of the build; the lock names every package by its own digest."""
        digest = hashlib.sha256()
        folders = [self.sources / "src", *([STATIC / self.further] if self.further else [])]
        inside = (path for folder in folders for path in sorted(folder.rglob("*")))
        for path in (*(self.sources / name for name in NAMED), *inside):
            if path.is_file():
                digest.update(path.relative_to(HERE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:16]

    def build(self) -> None:
        """Build and publish it; a second concurrent build waits for the first. Raises BuildFailed."""
        if not self.has_sources():
            raise BuildFailed(
                "this installation holds no sources to build from; install a wheel, which brings it built"
            )
        with self._alone():
            if not self.needed():
                return
            if not available():
                raise BuildFailed(
                    "npm was not found: install Node.js 18 or newer with npm, then run: python -m onward.web.build"
                )
            made = self.stamp()
            modules = self.sources / "node_modules"
            kept = modules.exists()
            try:
                options = () if kept else self.options  # whoever has packages there works on the sources
                self._run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", *options)
                vite = "node_modules/vite/bin/vite.js"
                self._run("node", vite, "build", "--outDir", str(self.output / made), "--emptyOutDir")
            finally:
                if not kept:  # the explorer's are 240 MB, which nothing reads once the bundle exists
                    shutil.rmtree(modules, ignore_errors=True)
            self._publish(made)

    def _run(self, *command: str) -> None:
        if _ended.is_set():
            raise BuildFailed("the server that wanted the build has ended")
        try:
            done = subprocess.run(  # noqa: S603 - fixed words, except the folders of this package
                command, cwd=self.sources, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BuildFailed(f"`{' '.join(command[:2])}` did not end within {TIMEOUT_S:.0f} s") from error
        except OSError as error:
            raise BuildFailed(f"`{command[0]}` could not be started: {error.strerror}") from error
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).splitlines()
            output = [line for line in lines if line not in {"", "npm error"} and "warn" not in line]
            raise BuildFailed(f"`{' '.join(command[:2])}` ended with {done.returncode}:\n" + "\n".join(output[:12]))

    def _publish(self, made: str) -> None:
        manifest = json.loads((self.output / made / "manifest.json").read_text("utf-8"))
        entry = next(part for part in manifest.values() if part.get("isEntry"))
        below = f"{self.name}/{made}/"
        shown = {
            "stamp": made,
            "script": below + entry["file"],
            "styles": [below + style for style in entry.get("css", [])],
        }
        before = self.current()
        aside = self.output / f".current-{os.getpid()}.json"
        aside.write_text(json.dumps(shown), "utf-8")
        aside.replace(self.output / "current.json")
        for old in self.output.iterdir():
            if old.is_dir() and old.name not in {made, before.stamp if before else made}:
                shutil.rmtree(old, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.output.mkdir(parents=True, exist_ok=True)
        with (self.output / ".lock").open("w") as lock:  # the kernel gives it back, however the holder ends
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


CONSOLE = Bundle("console", options=("--omit=dev",), further="shared")
EXPLORER = Bundle("explorer", further="shared")
BUNDLES = (CONSOLE, EXPLORER)  # the one that takes seconds first


def build_in_background() -> subprocess.Popen[bytes] | None:
    """Start the builds in a process that ends with this one and writes to `static/build.log`.

    None where nothing is to do, or nothing can be: in a folder that is not to be written the pages do without.
    """
    wanted = [one.name for one in BUNDLES if one.has_sources() and one.needed() and not one.running()]
    if not wanted or not available():
        return None
    try:
        log = (STATIC / "build.log").open("wb")
    except OSError:
        return None
    with log:
        command = [sys.executable, "-P", "-m", "onward.web.build", BESIDE, str(os.getpid()), *wanted]
        # A session of its own can be ended as one.
        return subprocess.Popen(  # noqa: S603
            command, cwd=HERE.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _end_with(server: int) -> None:
    """End this build and npm when the server, the parent of this process, has ended; remove half-done files."""

    def watch() -> None:
        # A pipe from the server would stay open in a process that the server forks just then.
        while os.getppid() == server:
            time.sleep(SERVER_CHECK_S)
        _ended.set()
        os.killpg(os.getpgrp(), signal.SIGTERM)
        time.sleep(KILL_AFTER_S)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    signal.signal(signal.SIGTERM, lambda *_: _ended.set())
    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _time_shown() -> Iterator[None]:
    """Show the elapsed time on a terminal."""
    over, started = threading.Event(), time.monotonic()

    def show() -> None:
        while not over.wait(1.0):
            sys.stderr.write(f"\r\033[Kweb.build: fetching and bundling, {time.monotonic() - started:.0f} s")
            sys.stderr.flush()

    if not sys.stderr.isatty():
        yield
        return
    shown = threading.Thread(target=show)
    shown.start()
    try:
        yield
    finally:
        over.set()
        shown.join()
        sys.stderr.write("\r\033[K")


def main(arguments: list[str]) -> int:
    """Build the bundles with these names, or all; return 0, or 1 with the reasons on stderr."""
    if BESIDE in arguments:
        os.nice(10)  # the server answers people
        _end_with(int(arguments[arguments.index(BESIDE) + 1]))
    named = [one for one in BUNDLES if one.name in arguments]
    failed = 0
    for bundle in named or BUNDLES:
        try:
            with _time_shown():
                bundle.build()
        except BuildFailed as error:
            sys.stderr.write(f"onward.web.build: the {bundle.name}: {error}\n")
            failed = 1
        else:
            sys.stdout.write(f"onward.web.build: the {bundle.name} is ready\n")
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
