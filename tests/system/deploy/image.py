"""An image, as that of deploy/Dockerfile, built by buildah without a daemon, and its processes, run as an engine would.

No registry is asked: the base is a Debian of the same release, made by debootstrap, under the official image's name.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.processes import ROOT, Running

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SOURCES = ("requirements.txt", "gql", "handlers", "database", "deploy")
ENTER = Path(__file__).with_name("enter.sh")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")  # Debian's place, in the image as on the machine
SEARCHED = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}


def lacking() -> str:
    """Return the tools that are missing for building an image; empty if there are none."""
    packages = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if packages:
        return f"needs {' and '.join(packages)} (Debian: apt-get install {' '.join(packages)})"
    return "" if os.geteuid() == 0 else "needs root, to make a root file system and to enter it"


def run(*command: str | Path, **options: Path) -> str:
    found = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=options.get("cwd")
    )
    assert found.returncode == 0, f"{command}: {found.stdout[-3000:]}{found.stderr[-3000:]}"
    return found.stdout.strip()


def repository(folder: Path, wheel: Path) -> Path:
    """Copy the sources of deploy/Dockerfile, and the wheel, to a folder to build from."""
    context = folder / "context"
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, context / name)
    (context / "dist").mkdir()
    shutil.copy(wheel, context / "dist")
    return context


class Image:
    """The image, and its root for reading."""

    def __init__(self, folder: Path, context: Path, dockerfile: Path, ignored: Path) -> None:
        self._folder = folder
        self.size_bytes = 0
        self._make(context, dockerfile, ignored)

    def _buildah(self, *arguments: str | Path) -> str:
        store = ("--root", self._folder / "store", "--runroot", self._folder / "run", "--storage-driver", "vfs")
        return run("buildah", *store, *arguments)

    def _make(self, context: Path, dockerfile: Path, ignored: Path) -> None:
        (context / "secret.env").write_text("of the machine that builds\n")  # which the image is to leave out
        bases = set(re.findall(r"^FROM (\S+:\S+)", dockerfile.read_text(), re.MULTILINE))
        for base in bases:
            self._make_base(base)
        options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker", "--layers=false"]
        trusted = ["--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro"] if AUTHORITIES.exists() else []
        options += ["--file", str(dockerfile), "--ignorefile", str(ignored)]
        self._buildah("bud", *options, *trusted, "--tag", "localhost/onward", context)
        inspected = json.loads(self._buildah("inspect", "--type", "image", "localhost/onward"))
        self.config: Mapping[str, list[str]] = inspected["Docker"]["config"]
        self.root = Path(self._buildah("mount", self._buildah("from", "--pull-never", "localhost/onward")))
        self.size_bytes = int(run("du", "--summarize", "--bytes", self.root).split()[0])

    def _make_base(self, name: str) -> None:
        """Store a Debian with its own Python under that name."""
        suite, debian = name.rpartition("-")[2], self._folder / "debian"
        run("debootstrap", "--variant=minbase", "--include=python3,python3-venv", suite, debian)
        for link, target in (("python3", "/usr/bin/python3"), ("python", "python3")):  # where the official image has it
            (debian / "usr/local/bin" / link).symlink_to(target)
        for left in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(debian / left)
        container = self._buildah("from", "scratch")
        self._buildah("copy", "--quiet", container, debian, "/")
        self._buildah("config", "--env", f"PATH={SEARCHED}", "--env", "LANG=C.UTF-8", container)
        self._buildah("commit", "--quiet", "--rm", container, f"docker.io/library/{name}")
        shutil.rmtree(debian)

    def shell(self, script: str, volume: Path) -> subprocess.CompletedProcess[str]:
        """Run a script in a container and return its outcome."""
        command = [*self._entering(volume), "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    @contextmanager
    def running(self, *command: str, volume: Path, variables: Mapping[str, str] | None = None) -> Iterator[Running]:
        """Run a container's process as compose.yaml has it: a read-only root, /tmp of its own, no rights."""
        (target,) = self.config["Volumes"]
        given = dict(pair.split("=", 1) for pair in self.config["Env"])
        what = [*(self.config.get("Entrypoint") or ()), *(command or self.config["Cmd"])]
        log = self._folder / f"{what[-1].strip('-/')}-{len(list(self._folder.iterdir()))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._entering(volume), *what],
                env={**given, "HOME": target, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()

    def _entering(self, volume: Path) -> list[str]:
        (target,) = self.config["Volumes"]
        where = [self.root, self.config["WorkingDir"], self.config["User"], volume, target]
        return [*map(str, ["unshare", "--mount", "--propagation", "private", "/bin/sh", ENTER, *where])]

    def close(self) -> None:
        """Unmount the root and leave nothing in the store."""
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")
