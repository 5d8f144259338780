"""`onward jobs send`: options become parameters, and the id of the accepted job is printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from pydantic import AnyUrl, Field

from onward import InvalidParameters, JobContext, handler
from onward.cli.parameter_options import BadOption, parameters
from onward.jobs import ledger
from onward.jobs.states import JobStatus
from onward.storage.engine import Database
from tests.integration.test_enqueue import write_settings
from tests.processes import onward


@handler("test.order")
async def order(
    job: JobContext, *, name: str, tags: list[str], more: dict[str, int], count: int = 1, gift: bool = False
) -> None: ...


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (["--name", "17"], {"name": "17"}),
        (["--name=a=b", "--count", "3"], {"name": "a=b", "count": 3}),
        (["--gift"], {"gift": True}),
        (["--no-gift"], {"gift": False}),
        (["--tags", "1"], {"tags": ["1"]}),
        (["--tags", "1", "--tags", "b"], {"tags": ["1", "b"]}),
        (["--more", '{"a": 1}'], {"more": {"a": 1}}),
        (["--count", "many"], {"count": "many"}),
    ],
)
def test_options_become_parameters(words: list[str], params: dict[str, Any]) -> None:
    assert parameters(order, words) == params


@pytest.mark.parametrize("words", [["--oder", "x"], ["name"], ["--name"]])
def test_a_wrong_option_is_refused(words: list[str]) -> None:
    with pytest.raises(BadOption):
        parameters(order, words)


class Speed(Enum):
    SLOW = "1"
    FAST = "fast"


@dataclass
class Item:
    sku: str
    on: date


@handler("test.typed", mutation=True)
def typed(  # noqa: D417 - the names say it
    job: JobContext,
    *,
    text: str | None,
    number: int | None,
    price: Decimal,
    at: datetime,
    span: timedelta,
    id: UUID,
    folder: Path,
    url: AnyUrl,
    speed: Speed,
    how: Literal["air", "sea"],
    days: list[date],
    words: frozenset[Annotated[str, Field(min_length=1)]] | None,
    item: Item,
    items: Sequence[Item],
    anything: Any,
    sure: bool | None,
) -> None:
    """Take everything.

    Args:
        price: What it costs.
    """


def test_each_type_is_given_in_its_own_words() -> None:
    given = parameters(
        typed,
        shlex.split(
            """--text null --number null --price 1.10 --at 2030-01-31T09:00:00+01:00 --span PT1H
            --id 00000000000000000000000000000007 --folder 17 --url https://example.org --speed 1 --how sea
            --days 2030-01-31 --days 2030-02-01 --words 7 --item '{"sku": "1", "on": "2030-01-31"}'
            --items '[{"sku": "1", "on": "2030-01-31"}]' --anything 5 --no-sure"""
        ),
    )
    item = Item("1", date(2030, 1, 31))
    assert typed.arguments(typed.bind(given)) == {
        "text": "null",
        "number": None,
        "price": Decimal("1.10"),
        "at": datetime(2030, 1, 31, 8, tzinfo=UTC),
        "span": timedelta(hours=1),
        "id": UUID(int=7),
        "folder": Path("17"),
        "url": AnyUrl("https://example.org"),
        "speed": Speed.SLOW,
        "how": "sea",
        "days": [date(2030, 1, 31), date(2030, 2, 1)],
        "words": frozenset({"7"}),
        "item": item,
        "items": [item],
        "anything": 5,
        "sure": False,
    }


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--days", "soon"], ("days.0", "Input should be a valid date")),
        (["--price", "much"], ("price", "Input should be a valid decimal")),
        (["--item", '{"sku": "1"}'], ("item.on", "Field required")),
        (["--words", ""], ("words.0", "String should have at least 1 character")),
    ],
)
def test_a_wrong_value_is_named_by_its_place(words: list[str], error: tuple[str, str]) -> None:
    with pytest.raises(InvalidParameters) as refused:
        typed.bind(parameters(typed, words))
    assert any(place == error[0] and message.startswith(error[1]) for place, message in refused.value.errors)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jobs send test.", ["test.order", "test.typed"]),
        ("jobs send test.typed --pri", ["--price", "--priority"]),
        ("jobs send test.typed --s", ["--span", "--speed", "--sure"]),
        ("jobs send test.typed --no-", ["--no-sure"]),
        ("jobs send test.typed --speed ", ["1", "fast"]),
        ("jobs send test.typed --how s", ["sea"]),
        ("jobs send no.such --pri", ["--priority"]),
    ],
)
def test_the_shell_completes_handlers_and_parameters(line: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[handlers]\nmodules = ["tests.system.test_sending"]\n')
    words = ["onward", "--project", str(tmp_path), *line.split(" ")]
    variables = {"_ONWARD_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    completed = onward(project=tmp_path, **variables)
    assert sorted(completed.stdout.split()) == expected, completed


async def test_a_job_is_sent_and_refusals_say_why(tmp_path: Path, sqlite_ledger: str) -> None:
    write_settings(tmp_path, sqlite_ledger)
    sent = onward(
        "jobs",
        "send",
        "conformance.note",
        "--folder",
        "x",
        "--run-at",
        (date.today() + timedelta(days=300)).isoformat(),  # noqa: DTZ011 - within a day or two of it
        "--idempotency-key",
        "k",
        "--owner",
        "ada",
        "--priority",
        "7",
        project=tmp_path,
    )
    assert sent.returncode == 0, sent
    database = Database(sqlite_ledger)
    job = await database.read(lambda tx: ledger.get(tx, sent.stdout.strip()))
    database.close()
    assert job is not None
    assert (job.status, job.params["folder"]) == (JobStatus.SCHEDULED, "x")
    assert (job.owner, job.priority) == ("ada", -7), "smaller goes first in the ledger"
    refused = onward("jobs", "send", "conformance.note", "--json", '{"text": 5}', project=tmp_path)
    assert (refused.returncode, "folder" in refused.stderr) == (1, True), refused
    late = onward("jobs", "send", "conformance.note", "--run-at", "2099-01-01T00:00:00Z", project=tmp_path)
    assert (late.returncode, "--run-at must be at most 365 days ahead" in late.stderr) == (2, True), late
    unknown = onward("jobs", "send", "no.such", project=tmp_path)
    assert (unknown.returncode, "no.such: there is no such handler; known are conformance." in unknown.stderr) == (
        3,
        True,
    ), unknown


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "tomorrow"])
def test_a_time_at_which_no_job_can_begin_is_refused(moment: str, tmp_path: Path, sqlite_ledger: str) -> None:
    write_settings(tmp_path, sqlite_ledger)
    refused = onward("jobs", "send", "conformance.note", "--run-at", moment, project=tmp_path)
    assert (refused.returncode, "--run-at must be " in refused.stderr) == (2, True), refused
    assert "Traceback" not in refused.stderr


async def test_a_signal_is_sent_and_refusals_say_why(tmp_path: Path, sqlite_ledger: str) -> None:
    """Before its wait has begun, too."""
    write_settings(tmp_path, sqlite_ledger)
    job_id = onward("jobs", "send", "conformance.approval", "--folder", "x", project=tmp_path).stdout.strip()

    def signal(*words: str) -> tuple[int, str]:
        found = onward("jobs", "signal", *words, project=tmp_path)
        return found.returncode, found.stdout + found.stderr

    for _ in range(2):
        assert signal(job_id, "approval", "--payload", '{"approved": true}') == (
            0,
            f"{job_id} has the signal approval\n",
        )
    cases = [
        ((job_id, "approval", "--payload", '{"approved": false}'), 1, "has come before, with another payload"),
        ((job_id, "approval", "--payload", '{"approved": "yes"}'), 1, "payload.approved: Input should be a valid"),
        ((job_id, "approval", "--payload", "{"), 2, "--payload must be JSON, as in"),
        ((job_id, "other"), 3, "the handler conformance.approval waits for no signal 'other'; it waits for "),
        (("job_0", "approval"), 3, "there is no such job"),
    ]
    for words, code, message in cases:
        found, said = signal(*words)
        assert (found, message in said) == (code, True), said


def test_a_unique_job_of_another_owner_is_refused_in_one_line(tmp_path: Path, sqlite_ledger: str) -> None:
    keys = f'[secrets]\nkeys = ["{Fernet.generate_key().decode()}"]\n'
    file = write_settings(tmp_path, sqlite_ledger, keys)
    file.write_text(file.read_text("utf-8").replace("onward.testing.workload", "tests.integration.unique_handlers"))
    send = ("jobs", "send", "report.all", "--words", "x")
    assert onward(*send, "--owner", "ada", project=tmp_path).returncode == 0
    refused = onward(*send, "--owner", "bob", project=tmp_path)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1), refused
    assert "report.all: a job of another owner is there" in refused.stderr
