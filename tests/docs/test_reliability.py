"""The reliability page lists the harness's tests, and its figures are those of the harness."""

import json
import re

import pytest

from tests.docs.reliability import FIGURES, PAGE, rows, table
from tests.system.faults.fault_tests.all import FAULT_TESTS
from tests.system.faults.installation import COMBINATIONS

JOBS = 20_000


def test_every_fault_test_is_on_the_page_and_no_other() -> None:
    below = PAGE.read_text("utf-8").partition("| fault | effect | tests |")[2].partition("\n\n")[0]
    listed = re.findall(r"`(\w+)`", "".join(line.rsplit("|", 2)[1] for line in below.splitlines()[2:]))
    assert sorted(listed) == sorted(fault_test.name for fault_test in FAULT_TESTS)


def test_the_figures_are_those_of_the_campaigns() -> None:
    figures = json.loads(FIGURES.read_text("utf-8"))
    assert table(PAGE.read_text("utf-8")) == list(rows(figures)), "run: .venv/bin/python -m tests.docs.reliability FILE"


@pytest.mark.parametrize("combination", [one.name for one in COMBINATIONS])
def test_a_long_campaign_of_each_combination_broke_no_promise(combination: str) -> None:
    """Twenty minutes and 20,000 jobs or more: none lost, no finished step run again, rescues within 15 s."""
    long = [one for one in json.loads(FIGURES.read_text("utf-8")) if one["combination"] == combination]
    assert any(one["minutes"] >= 20 and one["jobs"] >= JOBS for one in long)
    for one in long:
        assert (one["lost"], one["finished_run_again"]) == (0, 0)
        assert one["rescue_max_s"] < 15
