"""`handler.job(...)`: a request for a job. mypy has to refuse a wrong call, or its comment would be unused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from onward import Handler, JobContext, JobRequest, handler, sequence
from onward.jobs.model import to_us
from onward.jobs.options import NO_OPTIONS, DispatchOptions, Options
from onward.jobs.running import unpacked
from tests.integration.jobs.process_handlers import LATER


@handler("test.confirm")
async def confirm(job: JobContext[str], *, order: str, amount: int = 1) -> None: ...


@handler("test.plain")
def plain(job: JobContext) -> None: ...


def test_a_request_has_the_handler_and_the_parameters() -> None:
    assert confirm.job(order="A-17", amount=2) == JobRequest("test.confirm", {"order": "A-17", "amount": 2})
    assert confirm.job(order="A-17").params == {"order": "A-17"}
    assert plain.job() == JobRequest("test.plain", {})


def test_a_wrong_call_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"test\.confirm: order is missing"):
        confirm.job()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"test\.confirm: order is missing; there is no parameter oder"):
        confirm.job(oder="A-17")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"test\.confirm: its parameters are given by keyword; order is missing"):
        confirm.job("A-17")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"test\.plain: there is no parameter order"):
        plain.job(order="A-17")  # type: ignore[call-arg]


def test_types_are_mypy_s_until_the_job_is_accepted() -> None:
    request = confirm.job(order=7)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="order: Input should be a valid string"):
        confirm.bind(request.params)


def test_a_sequence_has_the_parameters_of_its_first_step() -> None:
    async def first(job: JobContext, *, order: str) -> str:
        return order

    async def last(job: JobContext, value: str) -> None: ...

    both: Handler = sequence("test.both", [first, last])
    assert both.job(order="A-17") == JobRequest("test.both", {"order": "A-17"})
    with pytest.raises(TypeError, match="order is missing"):
        both.job()


def test_type_checkers_know_the_parameters_of_a_sequence_whose_steps_are_a_tuple() -> None:
    async def first(job: JobContext, *, order: str) -> str:
        return order

    async def last(job: JobContext, value: str) -> None: ...

    both = sequence("test.typed", (first, last, last_of_all))
    assert both.job(order="A-17") == JobRequest("test.typed", {"order": "A-17"})
    with pytest.raises(TypeError, match="order is missing"):
        both.job()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no parameter oder"):
        both.job(oder="A-17")  # type: ignore[call-arg]


def last_of_all(job: JobContext, value: None) -> None: ...


HOUR = timedelta(hours=1)
LATE = datetime.now(UTC) + timedelta(days=366)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"owner": 7.5}, TypeError, r"owner must be a string, an integer or a UUID \(got float\)"),
        ({"owner": ""}, ValueError, "owner must have 1 to 255 characters"),
        ({"priority": "high"}, TypeError, r"priority must be a whole number, as in priority=10 \(got str\)"),
        ({"priority": True}, TypeError, r"priority must be a whole number, as in priority=10 \(got bool\)"),
        ({"run_at": 3600}, TypeError, r"run_at must be a datetime, as in datetime.now\(UTC\) \+ .* \(got int\)"),
        ({"run_at": LATE}, ValueError, "run_at must be at most 365 days ahead"),
        ({"expires": 3600}, TypeError, r"expires must be a timedelta, as in expires=timedelta\(hours=1\).*got 3600"),
    ],
)
def test_a_wrong_option_is_refused_with_the_way_to_write_it(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Options(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"order": "x"}, r"give order to \.job\(...\)"),
        ({"idempotency_key": "k"}, "dispatch needs no idempotency key: .* and so once"),
        ({"owner": 5.5}, r"test\.plain: owner must be a string, an integer or a UUID \(got float\)"),
        ({"priority": "high"}, r"test\.plain: priority must be a whole number, as in priority=10 \(got str\)"),
        ({"expires": 5}, r"test\.plain: expires must be a timedelta, as in expires=.* \(got 5\)"),
        ({"run_at": 5}, r"test\.plain: run_at must be a datetime, as in .*\(got int\)"),
    ],
)
def test_a_wrong_dispatch_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        unpacked(plain.job(), given)


def test_a_dispatch_of_a_handler_says_how_to_make_its_job() -> None:
    with pytest.raises(TypeError, match=r"job\.dispatch: the request must be HANDLER\.job\(\.\.\.\), or the name"):
        unpacked(plain, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"run_at": LATER.replace(tzinfo=None)}, {"priority": 1_001}, {"owner": ""}])
def test_impossible_options_of_a_dispatch_are_refused_by_the_handler_s_name(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"test\.plain: {next(iter(given))} (needs|must)"):
        unpacked(plain.job(), given)


def test_a_dispatch_has_the_options_of_an_enqueued_job() -> None:
    given = {"owner": 7, "priority": 5, "run_at": LATER, "expires": HOUR}
    handler, params, options = unpacked(confirm.job(order="A"), given)
    assert (handler, params) == ("test.confirm", {"order": "A"})
    assert (options.subject, options.ledger_priority, options.earliest) == ("7", -5, to_us(LATER))
    assert DispatchOptions.decoded(options.encoded()) == replace(options, owner="7")
    assert unpacked("test.confirm", {"run_at": "x"}) == ("test.confirm", {"run_at": "x"}, NO_OPTIONS)


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=365, seconds=1)])
def test_an_expiry_out_of_bounds_is_refused(expires: timedelta) -> None:
    for give in (lambda: unpacked(plain.job(), {"expires": expires}), lambda: Options(expires=expires)):
        with pytest.raises(ValueError, match="expires must be positive, and at most 365 days"):
            give()


def test_options_without_an_expiry_are_those_of_an_older_release() -> None:
    """A key that was used before the upgrade covers the same options after it."""
    assert Options().as_json() == {"priority": None, "runAt": None}
    assert Options(expires=HOUR).as_json() == {"priority": None, "runAt": None, "expires": 3_600_000_000}
