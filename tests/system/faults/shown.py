"""The numbers that people and programs are shown, compared with the rows of a ledger that is quiet."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from graphql import OperationDefinitionNode, parse

from onward.jobs.history_rows import COUNTS
from onward.jobs.stats import ALL
from onward.web.documents import documents
from tests.processes import onward
from tests.system.faults.installation import Installation
from tests.system.faults.process import wait_for

TIME = timedelta(hours=24)  # of the history; minutes are kept as long
KEPT_S = 10.0  # answers of the whole installation may be a second old
GAUGE = re.compile(r'^onward_jobs\{status="(\w+)"\} (\d+)', re.MULTILINE)
Numbers = Mapping[Any, int]


def differences(installation: Installation) -> Iterator[str]:
    """Yield each number that the console, GraphQL, the terminal or Prometheus has otherwise than the rows, to the job.

    The console's are those of the operations that its pages send.
    """
    ledger = installation.ledger
    statuses = dict(ledger.rows("SELECT status, count(*) FROM _ledger.jobs GROUP BY status"))
    history = {key: n for key, n in ledger.history().items() if n}
    surfaces = {
        "the console's frame": (_frame, statuses),
        "Prometheus": (_gauges, statuses),
        "onward top": (_top, statuses),
        "the console's overview": (_overview, _summed(history)),
        "GraphQL's stats": (_stats, history),
        "onward stats": (_printed, history),
    }
    for name, (read, expected) in surfaces.items():
        found: Numbers = {}

        def agrees(read: Any = read, expected: Numbers = expected) -> bool:
            nonlocal found
            found = {key: n for key, n in read(installation).items() if n}
            return found == expected

        try:
            wait_for(agrees, KEPT_S, name)
        except AssertionError:
            for key in sorted(found.keys() | expected.keys()):
                if found.get(key) != expected.get(key):
                    yield f"{name} shows {found.get(key, 0)} for {key}, and the rows have {expected.get(key, 0)}"


def _frame(installation: Installation) -> Numbers:
    counts = installation.client.ask(_operations()["shell"])["system"]["counts"]
    return {one["status"]: one["count"] for one in counts}


def _gauges(installation: Installation) -> Numbers:
    status, text = installation.client.get("/metrics")
    assert status == 200, text
    return {status: int(n) for status, n in GAUGE.findall(text.decode())}


def _top(installation: Installation) -> Numbers:
    (figures,) = _lines(installation, "top", "--from", "24h")
    return dict(figures["counts"])


def _overview(installation: Installation) -> Numbers:
    end = datetime.now(UTC) + timedelta(minutes=1)
    variables = {"from": (end - TIME).isoformat(), "to": end.isoformat(), "handler": []}
    found = installation.client.ask(_operations()["overview"], variables)
    return _by_handler([*found["each"], *found["all"]])


def _stats(installation: Installation) -> Numbers:
    end = datetime.now(UTC) + timedelta(minutes=1)
    query = (
        f"query($from: DateTime!, $to: DateTime!) {{ stats(from: $from, to: $to) {{ handler {' '.join(COUNTS)} }} }}"
    )
    found = installation.client.ask(query, {"from": (end - TIME).isoformat(), "to": end.isoformat()})
    return _by_handler(found["stats"])


def _printed(installation: Installation) -> Numbers:
    return _by_handler(_lines(installation, "stats", "--from", "24h"))


def _lines(installation: Installation, *command: str) -> list[dict[str, Any]]:
    """Return what a command of the terminal prints as JSON."""
    outcome = onward(*command, "--json", project=installation.folder)
    assert outcome.returncode == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def _by_handler(rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    return {(row["handler"], name): row[name] for row in rows for name in COUNTS if name in row}


def _summed(history: Numbers) -> Numbers:
    """Return the figures that the overview has: by handler, and all handlers together."""
    found: Counter[tuple[str, str]] = Counter()
    for (handler, name), n in history.items():
        if name != "started":
            found[handler, name] += n
            found[ALL, name] += n
    return found


def _operations() -> dict[str, str]:
    """Return the console's documents by the names of their operations."""
    found = {}
    for text in documents():
        operation = parse(text).definitions[0]
        assert isinstance(operation, OperationDefinitionNode)
        assert operation.name is not None
        found[operation.name.value] = text
    return found
