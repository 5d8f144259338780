"""`./onward faults` as users type it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.processes import environment, onward
from tests.system.faults import campaign, main, table
from tests.system.faults.figures import Figures


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_campaign_checks_its_results_and_writes_its_figures(tmp_path: Path) -> None:
    """The campaign is a few seconds instead of twenty minutes long, with real processes and faults."""
    wanted = ("--minutes", "0.08", "--seed", "7", "--rate", "20", "--combination", "background+sqlite")
    outcome = subprocess.run(
        [sys.executable, "-P", "-m", "onward", "faults", *wanted, "--json", "figures.json"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    (figures,) = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["combination"], figures["seed"], figures["breaches"]) == ("background+sqlite", 7, [])
    assert figures["jobs"] >= figures["answers"] > 10
    assert sum(figures["faults"].values()) > 0
    assert "seed 7" in outcome.stdout


def test_an_impossible_campaign_is_reported_in_one_line(tmp_path: Path) -> None:
    outcome = onward("faults", "--combination", "dramatiq+oracle", project=tmp_path)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.count("\n") == 1
    assert "background+sqlite, dramatiq+sqlite, dramatiq+postgresql" in outcome.stderr


def test_a_broken_promise_is_reported_with_the_command_to_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 1, and the printed command repeats the same faults."""
    broken = Figures(
        "dramatiq+sqlite", 41, 0.5, 25.0, breaches=["every_promised_job_is_in_the_ledger: job_1 was promised"]
    )
    monkeypatch.setattr(campaign, "run", lambda *_, **__: broken)
    wanted = {"minutes": 0.5, "seed": 41, "rate": 25.0, "file": tmp_path / "figures.json"}
    assert main.run(combinations=["dramatiq+sqlite"], **wanted) == 1  # type: ignore[arg-type]
    said = io.StringIO()
    table.show([broken], Console(file=said, width=200))
    assert "BROKEN: every_promised_job_is_in_the_ledger: job_1 was promised" in said.getvalue()
    assert "./onward faults --combination dramatiq+sqlite --seed 41 --minutes 0.5 --rate 25" in said.getvalue()
