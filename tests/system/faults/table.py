"""The table that a campaign prints."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from tests.system.faults.figures import Figures

COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("combination", lambda f: f.combination),
    ("seed", lambda f: f"{f.seed}"),
    ("jobs", lambda f: f"{f.jobs:,}"),
    ("answers", lambda f: f"{f.answers:,}"),
    ("faults", lambda f: f"{sum(f.faults.values())}"),
    ("kills", lambda f: f"{sum(n for name, n in f.faults.items() if name.startswith('kill'))}"),
    ("lost", lambda f: f"{f.lost}"),
    ("steps in progress run twice", lambda f: f"{f.steps_run_twice}"),
    ("finished steps run again", lambda f: f"{f.finished_run_again}"),
    ("rescue max", lambda f: f"{f.rescue_max_s:.1f} s"),
    ("rescue p95", lambda f: f"{f.rescue_p95_s:.1f} s"),
    ("after outage max", lambda f: f"{f.delivery_after_outage_max_s:.1f} s"),
    ("answer p99", lambda f: f"{f.answer_p99_ms:.0f} ms"),
)


def _flows(figures: Sequence[Figures]) -> Table:
    """Return the flows of each campaign, a line for each kind."""
    table = Table("flows", *(one.combination for one in figures))
    for name in dict.fromkeys(name for one in figures for name in one.flows):
        table.add_row(name, *(f"{one.flows.get(name, 0):,}" for one in figures))
    return table


def show(figures: Sequence[Figures], console: Console) -> None:
    """Print the tables, the faults by kind, and every broken promise."""
    table = Table(*(name for name, _ in COLUMNS))
    for one in figures:
        table.add_row(*(value(one) for _, value in COLUMNS))
    console.print(table)
    console.print(_flows(figures))
    for one in figures:
        console.print(f"{one.combination}: " + ", ".join(f"{name} {n}" for name, n in one.faults.items()))
        for words in one.breaches:
            console.print(f"BROKEN: {words}", style="red", markup=False, soft_wrap=True)
        if one.breaches:
            options = f"--seed {one.seed} --minutes {one.minutes:g} --rate {one.rate:g}"
            again = f"./onward faults --combination {one.combination} {options}"
            console.print(f"the same faults again: {again}", markup=False, soft_wrap=True)
