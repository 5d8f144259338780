"""One soak: an installation under mixed load, sampled and judged."""

import asyncio
import json
import re
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import ROOT, Running, running, wait_until
from tests.servers import free_port, postgres_database, postgres_server, redis_server
from tests.system.fuzz.hostile import SECRET
from tests.system.soak import samples
from tests.system.soak.audit import Audit, differences, scraped
from tests.system.soak.judge import Bound, Verdict, judge
from tests.system.soak.load import ADMIN, Load
from tests.system.soak.streams import Streams

COMBINATIONS = ("background+sqlite", "dramatiq+postgresql")
SAMPLE_S = 5.0
KEPT_S, CLEAN_S = 60.0, 10.0  # finished jobs and keys are kept that long, and looked for that often
QUIET_TIMEOUT_S = 300.0
LIVE = "{ liveObjects }"
FORBIDDEN = ("was never awaited", "deadlock", "Task exception was never", "Too many open files")
INTERNAL = "a resolver failed"  # the line has the traceback
BOUNDS = {  # by the end of the quantity's name, in an hour
    "resident, MB": Bound(5.0),
    "descriptors": Bound(20.0, certain=True),
    "threads": Bound(5.0, certain=True),
    "live objects of jobs": Bound(1_000.0, certain=True),
    "live objects": Bound(20_000.0, certain=True),
    "processes": Bound(1.0, certain=True),
    "keys": Bound(10.0, certain=True),
    "memory, MB": Bound(2.0, certain=True),
    "connections": Bound(5.0, certain=True),
    "rows": Bound(1_000.0, certain=True),
    "size, MB": Bound(5.0, certain=True),
}


@dataclass(slots=True)
class Report:
    """The results of a soak; `wrong` lists everything that should not have been, except slopes."""

    combination: str
    minutes: float
    verdicts: list[Verdict] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    retried: int = 0
    streams: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.wrong and all(verdict.passed for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class Installation:
    """The running parts."""

    address: str
    api: Running
    worker: Running | None
    audit: Audit
    redis_url: str | None

    def processes(self) -> dict[str, list[int]]:
        """Return the ids of all processes now, parents first."""
        found = {"API": samples.family(self.api.process.pid)}
        return found if self.worker is None else found | {"worker": samples.family(self.worker.process.pid)}

    def logs(self) -> str:
        return self.api.output() + (self.worker.output() if self.worker else "")

    def metrics(self) -> list[str]:
        """Return the metrics of each process that has some."""
        urls = {f"{self.address}/metrics", *re.findall(r"http://127\.0\.0\.1:\d+/metrics", self.logs())}
        headers = {"authorization": f"Bearer {ADMIN}"}
        asked = [urllib.request.Request(url, headers=headers) for url in sorted(urls)]
        return [urllib.request.urlopen(request, timeout=30).read().decode() for request in asked]


@contextmanager
def installed(combination: str) -> Iterator[Installation]:
    """Start an API process and, for Dramatiq, a worker, with servers of their own."""
    backend, ledger = combination.split("+")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onward-soak-")))
        redis_url = stack.enter_context(redis_server()).url if backend == "dramatiq" else None
        database = f"sqlite:///{folder}/onward.db"
        if ledger == "postgresql":
            database = stack.enter_context(postgres_database(stack.enter_context(postgres_server()).url))
        _write(folder, backend, database, redis_url)
        audit = Audit(database)
        stack.callback(audit.close)
        api = stack.enter_context(_started(folder, "serve", "--port", "0"))
        worker = None
        if redis_url is not None:
            metrics = f"127.0.0.1:{free_port()}"
            worker = stack.enter_context(_started(folder, "worker", "--processes", "1", metrics=metrics))
            _wait_for(worker, "worker is up")
        _wait_for(api, "serving")
        yield Installation(api.serving(), api, worker, audit, redis_url)


def _started(folder: Path, *arguments: str, metrics: str = "") -> AbstractContextManager[Running]:
    return running(
        *arguments,
        project=folder,
        PYTHONPATH=str(ROOT),  # by the command line, and not by a fork of what the tests have loaded
        ONWARD_TIMINGS=json.dumps({"clean_interval_s": CLEAN_S}),
        ONWARD_TELEMETRY__METRICS=metrics,
    )


def _wait_for(process: Running, words: str) -> None:
    """Wait longer than tests do: other work may take most of the machine."""
    wait_until(lambda: words in process.output() or process.process.poll() is not None, QUIET_TIMEOUT_S)
    process.wait_for(words)


def _write(folder: Path, backend: str, database: str, redis_url: str | None) -> None:
    days = KEPT_S / 86_400
    (folder / "settings.toml").write_text(f"""
backend = "{backend}"
environment = "production"
[auth]
mode = "jwt"
jwt = {{ secret = "{SECRET}" }}
[gql.limits]
requests = 0  # all of the load comes from one viewer
timeout_s = 60.0
[queues."soak.count"]
priority = 10
[database]
url = "{database}"
[backends.dramatiq]
url = "{redis_url or "redis://127.0.0.1:1/0"}"
[handlers]
modules = ["tests.system.soak.soak_handlers"]
[gql]
modules = ["tests.system.soak.live_objects"]
[retention]
jobs_days = {days}
keys_days = {days}
""")


def run(
    combination: str,
    *,
    minutes: float,
    settle_s: float,
    rate: float,
    seed: int = 1,
    bounds: dict[str, Bound] | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """Run one soak; slopes are judged from the second `settle_s` on. Raises Missing without a server's program."""
    report = Report(combination, minutes)
    with installed(combination) as installation:
        load = Load(installation.address, rate, seed)
        series = asyncio.run(_under_load(installation, report, minutes * 60, load, say))
    report.samples = dict(series.values)
    report.verdicts = [
        judge(name, values, _bound(name, BOUNDS | (bounds or {})), since_s=settle_s)
        for name, values in report.samples.items()
    ]
    return report


def _bound(name: str, bounds: dict[str, Bound]) -> Bound:
    return next(bound for end, bound in bounds.items() if name.endswith(end))


async def _under_load(
    installation: Installation, report: Report, seconds: float, load: Load, say: Callable[[str], None]
) -> samples.Series:
    series = samples.Series()
    async with load:
        streams = Streams(installation.address, load)
        sampling = _sample(installation, load, series, report.wrong, say, seconds=seconds)
        await asyncio.gather(load.run(seconds), streams.run(seconds), sampling)
        await asyncio.to_thread(_settled, installation.audit, report.wrong)
        texts = await asyncio.to_thread(installation.metrics)
        metrics = scraped(texts)
        report.wrong += load.wrong + streams.wrong
        report.wrong += differences(installation.audit, load.accepted, load.retried, metrics)
    log = installation.logs()
    report.wrong += [f"the log says {words!r}" for words in FORBIDDEN if words in log]
    report.wrong += [line for line in log.splitlines() if INTERNAL in line]
    report.operations, report.retried, report.streams = load.operations.total(), load.retried, streams.ends
    for (_, what), n in installation.audit.counts().items():
        report.counts[what] += n
    return series


def _settled(audit: Audit, wrong: list[str]) -> None:
    try:
        wait_until(lambda: audit.open() == 0, QUIET_TIMEOUT_S)
    except AssertionError:
        wrong.append(f"{audit.open()} jobs are not over after {QUIET_TIMEOUT_S:g} s")


async def _sample(
    installation: Installation,
    load: Load,
    series: samples.Series,
    wrong: list[str],
    say: Callable[[str], None],
    *,
    seconds: float,
) -> None:
    """Sample for that long."""
    began_s = time.monotonic()
    known = installation.processes()
    while (due_s := time.monotonic() - began_s) < seconds:
        try:
            values = {f"API: {what}": n for what, n in (await _live(load, None)).items()}
            if installation.worker is not None:
                job = await load.accept("soak.count")
                values |= {f"worker: {what}": n for what, n in (await _live(load, job)).items()}
            values |= await asyncio.to_thread(_values, installation, known)
        except (AssertionError, OSError) as error:
            wrong.append(f"a sample: {type(error).__name__} {error}"[:500])
        else:
            at_s = time.monotonic() - began_s
            series.add(at_s, values)
            say(f"{at_s:6.0f} s {load.operations.total()} operations, {_line(values)}")
        await asyncio.sleep(max(0.0, began_s + due_s + SAMPLE_S - time.monotonic()))


async def _live(load: Load, job: str | None) -> dict[str, float]:
    """Return the live objects of the API, or of the process that ran the job."""
    found = (await load.ask(LIVE))["liveObjects"] if job is None else (await load.state(job, "SUCCEEDED"))["result"]
    return {"live objects": float(found["objects"]), "live objects of jobs": float(found["of jobs"])}


def _values(installation: Installation, known: dict[str, list[int]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, pids in known.items():
        for number, pid in enumerate(pids):
            title = name if len(pids) == 1 else f"{name} {number}"
            found |= {f"{title}: {what}": value for what, value in samples.sample_process(pid).items()}
    found["processes"] = float(sum(map(len, installation.processes().values())))
    if installation.redis_url is not None:
        found |= {f"Redis: {what}": value for what, value in samples.sample_redis(installation.redis_url).items()}
    return found | {f"ledger: {what}": value for what, value in samples.sample_ledger(installation.audit).items()}


def _line(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items() if name.endswith(("MB", "rows")))
