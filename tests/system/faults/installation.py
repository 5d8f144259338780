"""One installation under faults: its project folder, ledger, broker and processes, and its client."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onward.storage.base import StorageError
from tests import application
from tests.servers import free_port
from tests.system.faults import fault_handlers, final_checks, journal, records
from tests.system.faults.broker import Broker
from tests.system.faults.client import Client, Request
from tests.system.faults.flows import Flows
from tests.system.faults.ledger import Ledger
from tests.system.faults.loop import Loop
from tests.system.faults.postgres import Postgres
from tests.system.faults.process import RESCUE_S, Ends, Process, terminate, wait_for
from tests.system.faults.proxy import Mode, Proxy
from tests.system.faults.records import Records
from tests.system.faults.starters import CommandLine, Starter

DRAIN_S = 3.0
QUIET_START_S = 0.5
DEADLINE_S = DRAIN_S + 5.0  # a process that was asked to end has ended by then
NOTHING: Mapping[str, str] = MappingProxyType({})
HANDLERS = ("tests.system.faults.fault_handlers", "tests.system.faults.flow_handlers")


@dataclass(frozen=True, slots=True)
class Combination:
    """A backend on a ledger."""

    backend: str
    ledger: str

    @property
    def name(self) -> str:
        return f"{self.backend}+{self.ledger}"


COMBINATIONS = (
    Combination("background", "sqlite"),
    Combination("dramatiq", "sqlite"),
    Combination("dramatiq", "postgresql"),
)


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage of a part, from `started` to `ended` by the machine's clock."""

    what: str
    started: float
    ended: float


@dataclass(slots=True)
class Settings:
    """The contents of the project's settings.toml."""

    backend: str
    ledger_url: str
    redis_url: str
    namespace: str
    concurrency: int = 16
    email: dict[str, object] = field(default_factory=dict)
    handlers: tuple[str, ...] = HANDLERS
    queues: Mapping[str, str] = field(default_factory=dict)  # of handlers

    def write(self, project: Path) -> None:
        """Write the file."""
        tables: dict[str, dict[str, object]] = {
            "server": {"drain_s": DRAIN_S},
            "database": {"url": self.ledger_url},
            "backends.background": {"concurrency": self.concurrency},
            "backends.dramatiq": {"url": self.redis_url, "namespace": self.namespace},
            "handlers": {"modules": list(self.handlers)},
            "gql": {"modules": ["tests.system.faults.fault_mutations"]},
            "email": {key: value for key, value in self.email.items() if key != "smtp"},
            "email.smtp": dict(self.email.get("smtp", {})),  # type: ignore[call-overload]
            **{f'queues."{handler}"': {"queue": queue} for handler, queue in self.queues.items()},
        }
        lines = [f"backend = {json.dumps(self.backend)}"]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        application.write(project, "\n".join([*lines, ""]))


class Installation:
    """All parts of one campaign. Call `start` after the construction; `close` leaves nothing running."""

    def __init__(
        self,
        combination: Combination,
        folder: Path,
        loop: Loop,
        *,
        postgres: Postgres | None = None,
        broker: Broker | None = None,
        apis: int = 1,
        workers: int = 2,
        threads: int = 8,
        seed: int = 0,
        ledger_folder: Path | None = None,
        starter: Starter | None = None,
    ) -> None:
        """Use a SQLite file in the folder without PostgreSQL; only Dramatiq has workers."""
        self.combination = combination
        self.folder = folder
        self.loop = loop
        self.starter = starter or CommandLine(loop)
        self.broker = broker
        self.postgres = postgres
        self.proxy = Proxy(loop, broker.port) if broker else None
        self.ends = Ends()
        self.outages: list[Outage] = []
        self.journal = folder / "journal"
        self.broken = folder / "broken"
        self.unanswered: list[Request] = []  # requests to send again after the faults
        self.mailed: Counter[str] = Counter()  # messages that a mail server accepted, by job
        self.settings = Settings(
            combination.backend,
            postgres.database() if postgres else f"sqlite:///{ledger_folder or folder}/onward.db",
            f"redis://127.0.0.1:{self.proxy.port}/0" if self.proxy else "redis://127.0.0.1:1/0",
            f"faults-{folder.name}",
        )
        self.settings.write(folder)
        self.ledger = Ledger(self.settings.ledger_url)
        self.ports = [free_port() for _ in range(apis)]
        self.client = Client(loop, self.ports, seed=seed)
        self.flows = Flows(self.client, self.ledger)
        self.apis = [self.api(f"api{n}", port) for n, port in enumerate(self.ports, 1)]
        self.workers = [self.worker(f"worker{n}", threads) for n in range(1, workers + 1)] if broker else []

    @property
    def processes(self) -> list[Process]:
        return [*self.apis, *self.workers]

    @property
    def runners(self) -> list[Process]:
        """Return the processes that run jobs."""
        return self.workers or self.apis

    @property
    def rescue_s(self) -> float:
        """Return the seconds after which jobs of dead processes are stuck: thrice the promise, more for slow starts.

        The promise is for a machine that does nothing else; a campaign of faults measures it.
        """
        return RESCUE_S * max(3.0, *(process.start_s / QUIET_START_S for process in self.processes))

    def api(self, name: str, port: int, *options: str) -> Process:
        return self.process(name, "serve", "--port", str(port), *options, ready="serving")

    def worker(self, name: str, threads: int) -> Process:
        return self.process(name, "worker", "--processes", "1", "--threads", str(threads), ready="worker is up")

    def process(self, name: str, *arguments: str, ready: str) -> Process:
        environment = {
            "ONWARD_PROJECT": str(self.folder),
            journal.VARIABLE: str(self.journal),
            fault_handlers.BROKEN: str(self.broken),
        }
        return Process(
            name,
            arguments,
            folder=self.folder,
            ends=self.ends,
            environment=environment,
            ready=ready,
            starter=self.starter,
        )

    def start(self) -> None:
        """Start every process."""
        wanted = self.apis if self.settings.backend == "background" else self.processes
        for process in wanted:
            process.start(wait=False)
        for process in wanted:
            process.wait_ready()

    def deploy(self, **settings: Any) -> None:
        """Stop every process, and start it again with these settings changed."""
        for process in self.processes:
            process.term()
        for process in self.processes:
            if process.alive:
                assert process.wait(60) < DEADLINE_S, f"{process.name} did not end in time"
        self.settings = replace(self.settings, **settings)
        self.settings.write(self.folder)
        self.start()

    def repair(self) -> None:
        """Restore broker, connections and processes."""
        if self.postgres is not None:
            self.postgres.start()
        if self.broker is not None and self.proxy is not None:
            self.broker.start()
            self.broker.thaw()
            self.broker.drain()
            self.proxy.set(Mode.PASS)
        self.broken.unlink(missing_ok=True)
        for process in self.processes:
            if process.alive:
                process.thaw()
            else:
                process.tend()

    def wait_for_jobs(self, timeout_s: float = 60.0) -> float:
        """Wait until every job is over; return the seconds. Raises AssertionError that names some unfinished jobs."""
        try:
            return wait_for(self._is_quiet, timeout_s, "every job is over")
        except AssertionError as error:
            left = self.ledger.rows(
                "SELECT id, handler, status, backend, runner, delivered_to, deaths FROM _ledger.jobs"
                " WHERE status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED') LIMIT 5"
            )
            raise AssertionError(f"{error}; {self.ledger.open()} are not, among them {left}") from None

    def wait_for_backlog(self, timeout_s: float) -> float:
        """Do the same for as long as jobs end in each `timeout_s`: a limit may hold many of them back."""
        waited_s = 0.0
        while True:
            before = self.ledger.open()
            try:
                return waited_s + self.wait_for_jobs(timeout_s)
            except AssertionError:
                if self.ledger.open() >= before:
                    raise
                waited_s += timeout_s

    def records(self) -> Records:
        """Return the records of this installation now."""
        return records.read(
            self.folder,
            self.ledger,
            self.client.requests,
            self.ends.all,
            mailed=self.mailed,
            signals=self.flows.signals,
        )

    def check(self) -> None:
        """Raise AssertionError with every broken promise."""
        broken = final_checks.violations(self.records())
        assert not broken, "\n".join(broken)

    def _is_quiet(self) -> bool:
        with suppress(StorageError):
            return self.ledger.open() == 0
        return False

    @contextmanager
    def tended(self) -> Iterator[None]:
        """Restart processes that end by themselves, until the context ends."""
        over = threading.Event()

        def tend() -> None:
            while not over.wait(0.05):
                for process in self.processes:
                    process.tend()

        thread = threading.Thread(target=tend, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        self.client.close()
        for process in self.processes:
            process.close()
        for pid in _orphans(self.folder):
            terminate(pid)
        if self.proxy is not None:
            self.proxy.close()
        self.ledger.close()


def _orphans(folder: Path) -> list[int]:
    """Return child processes of isolated jobs whose parents were killed."""
    mine = f"ONWARD_PROJECT={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mine in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found
