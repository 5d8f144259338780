"""The files in `observability/` are valid for their tools, and use exported metrics only."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.telemetry.all_metrics import exposition
from tests.processes import ROOT

FOLDER = ROOT / "observability"
METRIC = re.compile(r"\bonward_[a-z_]+\b")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        words = "needs promtool (Debian: apt-get install --no-install-recommends prometheus)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found


def accepts(promtool: str, *arguments: str, given: str | None = None) -> None:
    output = subprocess.run(
        [promtool, *arguments], cwd=FOLDER, input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert output.returncode == 0, output.stdout + output.stderr


def samples() -> set[str]:
    return {sample.name for family in text_string_to_metric_families(exposition()) for sample in family.samples}


def queries() -> Iterator[str]:
    """Return the expressions of the dashboard, with its variables set."""
    board = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$job", "onward").replace("$handler", ".*")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts_the_files(arguments: tuple[str, ...], promtool: str) -> None:
    accepts(promtool, *arguments)


def test_promtool_finds_no_fault_with_the_metrics(promtool: str) -> None:
    accepts(promtool, "check", "metrics", given=exposition())


def test_promtool_can_read_every_query_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [{"record": f"onward:panel:{n}", "expr": expr} for n, expr in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    accepts(promtool, "check", "rules", str(tmp_path / "rules.yml"))


def test_dashboard_and_alerts_use_exported_metrics() -> None:
    asked = set(METRIC.findall(" ".join(queries()))) | set(METRIC.findall((FOLDER / "alerts.yml").read_text("utf-8")))
    assert len(asked) > 10
    assert asked - samples() == set()


def test_every_metric_has_a_panel() -> None:
    asked = set(METRIC.findall(" ".join(queries())))
    families = [one for one in text_string_to_metric_families(exposition()) if one.name.startswith("onward_")]
    assert len(families) > 20
    assert [one.name for one in families if asked.isdisjoint({sample.name for sample in one.samples})] == []


def test_every_alert_is_tested_and_explained() -> None:
    names = set(re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text("utf-8")))
    assert names == set(re.findall(r'alertname="(\w+)"', (FOLDER / "alerts_test.yml").read_text("utf-8")))
    page = (ROOT / "docs/observability.md").read_text("utf-8")
    assert names == set(re.findall(r"^\| `(Onward\w+)` \|", page, re.MULTILINE))


def test_no_two_panels_overlap() -> None:
    positions = [panel["gridPos"] for panel in json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]]
    cells = [
        (x, y)
        for place in positions
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
