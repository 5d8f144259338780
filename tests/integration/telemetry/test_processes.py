"""An API process, Redis and a worker process, seen from outside as one."""

import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests import application
from tests.integration.telemetry.collector import Collector, Span, collecting
from tests.processes import ROOT, Running, running, wait_until
from tests.servers import free_port

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
ITEM = 'mutation { processItem(input: {item: "a b"}) { job { id } errors { message } } }'
SERVER, PRODUCER, CONSUMER = 2, 4, 5
NAMED = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text("utf-8"), re.MULTILINE))
TYPED = re.compile(r"^# TYPE (onward_\w+) ", re.MULTILINE)


@dataclass(frozen=True)
class Installation:
    """Both processes, and a finished job whose mutation carried its caller's trace."""

    api: Running
    worker: Running
    collector: Collector
    job: str


@pytest.fixture(scope="module")
def installation(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    project = tmp_path_factory.mktemp("project")
    application.write(project)
    with collecting() as collector:
        given: dict[str, Any] = {
            "ONWARD_BACKEND": "dramatiq",
            "ONWARD_BACKENDS__DRAMATIQ__URL": redis_url,
            "ONWARD_BACKENDS__DRAMATIQ__NAMESPACE": f"test-{uuid.uuid4().hex}",
            "ONWARD_TELEMETRY__TRACES": collector.url,
            "ONWARD_TELEMETRY__METRICS": f"127.0.0.1:{free_port()}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        with (
            running("serve", "--port", "0", project=project, **given) as api,
            running("worker", "--processes", "1", project=project, **given) as worker,
        ):
            worker.wait_for("worker is up")
            job = post(api.serving())
            for name in ("run steps.process_item", "record", "deliver dramatiq", "POST"):
                wait_until(lambda name=name: collector.named(name))  # type: ignore[misc]
            yield Installation(api, worker, collector, job)


def post(address: str) -> str:
    """Send a mutation and return the id of its job."""
    request = urllib.request.Request(
        f"{address}/graphql",
        json.dumps({"query": ITEM}).encode(),
        {"content-type": "application/json", "traceparent": PARENT},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return str(json.load(response)["data"]["processItem"]["job"]["id"])


def metrics(process: Running) -> str:
    url = process.wait_for("metrics of this process").partition("url=")[2].split()[0]
    with urllib.request.urlopen(url, timeout=20) as response:
        return str(response.read().decode())


def way(collector: Collector, span: Span) -> list[str]:
    """Return the names of a span and its parents, up to the caller."""
    found = {one.id: one for one in collector.spans}
    names = [span.name]
    while span.parent != CALLER:
        span = found[span.parent]
        names.append(span.name)
    return names


def test_one_trace_shows_the_mutation_the_ledger_redis_the_worker_and_its_steps(installation: Installation) -> None:
    collector = installation.collector
    assert {span.trace for span in collector.spans} == {TRACE}
    accepted, ran = collector.only("accept steps.process_item"), collector.only("run steps.process_item")
    assert way(collector, accepted) == ["accept steps.process_item", "graphql mutation", "POST"]
    assert way(collector, collector.only("deliver dramatiq")) == ["deliver dramatiq", "graphql mutation", "POST"]
    assert ran.parent == accepted.id
    for name in ("step validate", "step analyse", "step store", "record"):
        assert collector.only(name).parent == ran.id
    assert [span.kind for span in (collector.only("POST"), accepted, ran)] == [SERVER, PRODUCER, CONSUMER]
    assert (ran.attributes["onward.job"], ran.attributes["onward.attempt"]) == (installation.job, 1)
    assert ran.process != accepted.process
    assert not any(span.failed for span in collector.spans)


def test_each_process_serves_its_own_metrics_at_its_own_address(installation: Installation) -> None:
    accepted = '\nonward_jobs_accepted_total{handler="steps.process_item"} 1.0\n'
    finished = '\nonward_jobs_finished_total{handler="steps.process_item",status="SUCCEEDED"} 1.0\n'
    wait_until(lambda: finished in metrics(installation.worker))
    assert accepted not in metrics(installation.worker)
    assert accepted in metrics(installation.api)
    assert finished not in metrics(installation.api)


def test_every_metric_of_the_page_is_exported(installation: Installation) -> None:
    assert set(TYPED.findall(metrics(installation.api))) == NAMED
    assert set(TYPED.findall(metrics(installation.worker))) < NAMED
