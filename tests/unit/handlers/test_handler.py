"""Definitions of handlers: a wrong one is refused where it is written."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import Field
from typing_extensions import deprecated

from onward.handlers.base import (
    Handler,
    InvalidParameters,
    JobRequest,
    Mutation,
    Permanent,
    Refused,
    Retry,
    RetryIn,
    handler,
    sequence,
)


def first(job: Any, *, number: int) -> int:
    return number


async def second(job: Any, value: int) -> int:
    return value + 1


def test_a_decorated_function_is_a_handler_of_one_step() -> None:
    made = handler("test.first")(first)
    assert [(step.name, step.call, step.is_async) for step in made.steps] == [("first", first, False)]
    assert not made.is_sequence
    assert list(made.parameters.model_fields) == ["number"]


def test_a_sequence_names_its_steps_and_knows_which_are_async() -> None:
    made = sequence("test.both", [first, second])
    assert [(step.name, step.is_async) for step in made.steps] == [("first", False), ("second", True)]
    assert made.is_sequence


@pytest.mark.parametrize("name", ["", "welcome", "Email.welcome", "email.", ".x", "email..x", "e mail.x", "email.x\n"])
def test_a_name_is_family_and_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"family\.name"):
        handler(name)(first)


def test_a_name_may_have_several_parts() -> None:
    assert handler("shop.orders_2.confirm")(first).name == "shop.orders_2.confirm"


def no_job() -> None: ...
def only_keywords(*, number: int) -> None: ...
def without_job(text: str) -> None: ...
def positional(job: Any, number: int) -> None: ...
def variable(job: Any, *numbers: int) -> None: ...
def anything(job: Any, **params: Any) -> None: ...
def untyped(job: Any, *, number) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def hidden(job: Any, *, _number: int) -> None: ...
def pydantics_own(job: Any, *, model_dump: int) -> None: ...
def unknown_type(job: Any, *, number: "Elsewhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def generator(job: Any, *, number: int) -> Iterator[int]:
    yield number


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_job, "must take the job first"),
        (only_keywords, "must take the job first"),
        (
            without_job,
            r"takes text: str where the job comes: write `def without_job\(job: JobContext, \*, text: str\)`",
        ),
        (positional, "number must be keyword-only"),
        (variable, r"\*numbers.* stands for any parameters: write each one by its name"),
        (anything, r"\*\*params.* stands for any parameters: .*, params: dict"),
        (untyped, "number needs a type"),
        (hidden, "pydantic reserves"),
        (pydantics_own, "pydantic reserves"),
        (unknown_type, "'Elsewhere' is not defined"),
        (generator, "generator"),
        (lambda _job: None, "no named function"),
        (print, "no named function"),
    ],
)
def test_an_invalid_signature_is_refused_with_a_reason(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        handler("test.refused")(function)


def test_the_type_of_the_job_parameter_need_not_be_importable() -> None:
    def typed(job: "OnlyForTypeCheckers", *, number: int) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert handler("test.typed")(typed).bind({"number": 1}) == {"number": 1}


LAZY = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elsewhere import Context, Number, Outcome, Transaction

def beside(tx: Transaction, *, number: int) -> None: ...
def one(job: Context, *, number: int) -> Outcome: ...
def two(job: Context, value: Outcome) -> Outcome: ...
def wrong(job: Context, *, number: Number) -> None: ...
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated where the function is made")
def test_a_type_for_type_checkers_needs_no_quotes_where_annotations_are_lazy() -> None:
    names: dict[str, Any] = {"__name__": "lazy"}
    exec(LAZY, names)
    made = sequence("test.lazy", [names["one"], names["two"]], mutation=Mutation(beside=names["beside"]))
    assert made.bind({"number": 1}) == {"number": 1}
    assert made.output is None
    with pytest.raises(TypeError, match="import the types of its parameters in its module"):
        handler("test.wrong")(names["wrong"])


@pytest.mark.parametrize("later", [first, no_job, variable, lambda _job, value: value])
def test_a_later_step_takes_the_job_and_a_value(later: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        sequence("test.refused", [first, later])


def test_a_sequence_needs_steps_with_distinct_names() -> None:
    with pytest.raises(ValueError, match="no steps"):
        sequence("test.empty", [])
    with pytest.raises(ValueError, match="same name"):
        sequence("test.twice", [first, second, second])


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": timedelta(0)},
        {"timeout": timedelta(seconds=-1)},
        {"expires": timedelta(0)},
        {"expires": timedelta(days=365, seconds=1)},
        {"version": 0},
        {"secret": frozenset({"password"})},
    ],
)
def test_an_invalid_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"test\.refused"):
        handler("test.refused", **options)(first)


def test_a_handler_keeps_its_version_and_secrets() -> None:
    def upgrade(version: int, params: dict[str, Any]) -> dict[str, Any]:
        return {"number": params["count"] + version}

    made: Handler = handler("test.first", version=2, upgrade=upgrade, secret=frozenset({"number"}))(first)
    assert (made.version, made.secret) == (2, frozenset({"number"}))
    assert made.upgrade is not None
    assert made.upgrade(1, {"count": 1}) == {"number": 2}


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"base": timedelta(seconds=-1)},
        {"base": timedelta(seconds=2), "cap": timedelta(seconds=1)},
    ],
)
def test_an_invalid_retry_policy_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"max_attempts|base"):
        Retry(**options)


@pytest.mark.parametrize("kind", [Permanent, InvalidParameters, RetryIn])
def test_errors_that_decide_by_themselves_have_no_policy(kind: type[Exception]) -> None:
    with pytest.raises(ValueError, match=f"by_type needs no {kind.__name__}"):
        Retry(by_type={kind: Retry()})


def test_a_policy_of_a_class_has_no_classes_of_its_own() -> None:
    with pytest.raises(ValueError, match="by_type of OSError: its policy cannot have a by_type"):
        Retry(by_type={OSError: Retry(by_type={TimeoutError: Permanent})})


def test_a_handler_with_policies_by_class_is_found_in_its_module() -> None:
    """Handlers are kept in sets."""
    policy = Retry(by_type={OSError: Retry(10)})
    made = handler("test.first", retry=policy)(first)
    assert [*dict.fromkeys((made, made))] == [made]
    assert {policy} == {Retry(by_type={OSError: Retry(10)})}
    assert policy != Retry(by_type={OSError: Permanent})


@pytest.mark.parametrize(
    ("delay", "charged"),
    [
        (timedelta(seconds=-1), True),
        (timedelta(days=365, seconds=1), True),
        (timedelta(days=365, seconds=1), False),
        (timedelta(milliseconds=999), False),
    ],
)
def test_a_delay_out_of_bounds_is_refused(delay: timedelta, charged: bool) -> None:  # noqa: FBT001 - a parameter
    with pytest.raises(ValueError, match=r"delay .*must be .* to 365 days"):
        RetryIn(delay, charged=charged)


def test_a_delay_has_a_message_and_a_code() -> None:
    made = RetryIn(timedelta(days=365), "The printer is busy.", code="BUSY", charged=False)
    assert (str(made), made.code, made.delay, made.charged) == ("The printer is busy.", "BUSY", timedelta(365), False)
    assert (RetryIn(timedelta(0)).code, RetryIn(timedelta(0)).charged) == ("RETRY_IN", True)


def test_a_handler_is_told_of_the_failures_of_another_by_its_name_or_itself() -> None:
    def hears(job: Any, *, job_id: str, message: str, times: int = 1) -> None: ...

    notified = handler("test.notified")(hears)
    assert handler("test.first", on_failure=notified)(first).on_failure == "test.notified"
    assert sequence("test.both", [first, second], on_failure="test.notified").on_failure == "test.notified"
    assert handler("test.first")(first).on_failure is None
    with pytest.raises(ValueError, match=r"test\.one: on_failure: test\.first may have job_id, handler, code, message"):
        handler("test.one", on_failure=handler("test.first")(first))
    with pytest.raises(ValueError, match=r"test\.notified: on_failure must be another handler"):
        handler("test.notified", on_failure="test.notified")(first)


def test_a_permanent_error_has_a_message_and_a_code() -> None:
    assert (str(Permanent("No.")), Permanent("No.").code, Permanent("No.", code="NEVER").code) == (
        "No.",
        "PERMANENT",
        "NEVER",
    )


def test_a_decorator_without_a_name_is_refused() -> None:
    bare: Any = handler
    with pytest.raises(TypeError, match=r'first: @handler needs a name, as in @handler\("group\.first"\)'):
        bare(first)


OPTIONS = [
    ({"retry": 3}, r"test\.one: retry must be a Retry, as in Retry\(max_attempts=3\) \(got 3\)"),
    ({"timeout": 3}, r"test\.one: timeout must be a timedelta, as in timedelta\(seconds=30\), or None \(got 3\)"),
    ({"expires": 3}, r"test\.one: expires must be a timedelta, as in timedelta\(seconds=30\), or None \(got 3\)"),
    ({"on_failure": 3}, r"test\.one: on_failure must be a handler, or its name as a string, or None \(got 3\)"),
    ({"on_failure": first}, r"test\.one: on_failure must be a handler"),
    ({"version": "x"}, r"test\.one: version must be a whole number, as in version=2 \(got 'x'\)"),
    ({"version": True}, r"test\.one: version must be a whole number"),
    ({"upgrade": 5}, r"test\.one: upgrade must be a function of the version and the parameters, or None \(got 5\)"),
    ({"secret": "number"}, r"test\.one: secret must be a set of parameters, as in frozenset.* \(got 'number'\)"),
    ({"secret": "n"}, r"test\.one: secret must be a set"),
    ({"secret": ["number"]}, r"test\.one: secret must be a set"),
    ({"secret": {5}}, r"test\.one: secret must be a set of parameters.*\(got \{5\}\)"),
    ({"process": 1}, r"test\.one: process must be True or False \(got 1\)"),
    ({"queue": 5}, r"test\.one: queue must be the name of a queue, as in queue=\"gpu\" \(got 5\)"),
    ({"mutation": 5}, r"test\.one: mutation must be True, False, a name, or a Mutation"),
    ({"mutation": None}, r"test\.one: mutation must be"),
    ({"mutation": Mutation}, r"test\.one: mutation must be"),
]


def test_an_option_of_the_mutation_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"no option roles; .*; of the mutation: mutation=Mutation\(roles=\.\.\.\)"):
        handler("test.one", mutation=True, roles=["staff"])  # type: ignore[call-arg]


def test_a_parameter_with_a_default_changes_nothing_of_what_was_given() -> None:
    """An idempotency key covers it: a handler may gain such a parameter."""

    async def before(job: Any, *, order: str, kind: str = "a") -> None: ...
    async def after(job: Any, *, order: str, kind: str = "a", note: str = "", tags: tuple[str, ...] = ()) -> None: ...

    made = [handler("test.gains")(function) for function in (before, after)]
    for given, kept in (({"order": "A"}, {"order": "A"}), ({"order": "A", "kind": "a"}, {"order": "A"})):
        assert [one.given(given) for one in made] == [kept, kept]
    assert made[1].given({"order": "A", "note": "x"}) == {"order": "A", "note": "x"}


def test_a_key_covers_a_value_that_only_python_takes_for_the_default() -> None:
    async def note(
        job: Any,
        *,
        flag: Any = True,
        all: Any = [0, {"a": False}],  # noqa: B006
        n: float = 1,
        tags: list[str] = Field(default_factory=list),  # noqa: B008
    ) -> None: ...

    made = handler("test.json")(note)
    assert (made.given({"tags": []}), made.given({"tags": ["new"]})) == ({}, {"tags": ["new"]})
    for same in ({"flag": True}, {"all": [0, {"a": False}]}, {"n": 1.0}, {"n": 1}):
        assert made.given(same) == {}
    for other in ({"flag": 1}, {"all": [False, {"a": False}]}, {"all": [0, {"a": 0}]}):
        assert made.given(other) == other


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_an_option_of_another_type_is_refused_where_it_is_given(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        handler("test.one", **options)
    with pytest.raises(TypeError, match=message):
        sequence("test.one", [first, second], **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (handler, r'the name of a handler must be a string, as in "orders.confirm" \(got 5\)'),
        (lambda given: sequence(given, [first]), "the name of a handler must be a string"),
        (lambda given: sequence("test.one", given), r"test\.one: steps must be a tuple or list of functions.*got 5"),
        (lambda _: sequence("test.one", first), r"test\.one: steps must be a tuple or list of functions"),  # type: ignore[call-overload]
        (lambda given: Retry(given * "x"), r"max_attempts must be a whole number.*got 'xxxxx'"),
        (lambda given: Retry(base=given), r"base must be a timedelta, as in Retry\(base=.*got 5"),
        (lambda given: Retry(cap=given), r"cap must be a timedelta, as in Retry\(cap=.*got 5"),
        (lambda given: Retry(by_type=given), "by_type must be a dict of classes and their policies.*got 5"),
        (lambda given: Retry(by_type={given: Retry()}), "a key of by_type must be a class of exceptions.*got 5"),
        (lambda _: Retry(by_type={KeyboardInterrupt: Retry()}), "a key of by_type must be"),  # type: ignore[dict-item]
        (lambda given: Retry(by_type={OSError: given}), r"by_type of OSError must be a Retry or Permanent.*got 5"),
        (lambda _: Retry(by_type={OSError: Permanent("no")}), "by_type of OSError must be"),  # type: ignore[dict-item]
        (RetryIn, r"delay must be a timedelta, as in RetryIn\(timedelta\(minutes=5\)\) \(got 5\)"),
        (lambda given: RetryIn(timedelta(1), charged=given), r"charged must be True or False \(got 5\)"),
        (Mutation, r'name must be a string, as in Mutation\("confirmOrder"\) \(got 5\)'),
        (lambda given: Mutation(description=given), "description must be a string"),
        (lambda given: Mutation(deprecated=given), "deprecated must be the reason as a string, or None"),
        (lambda given: Mutation(roles=given), "roles must be a list of names"),
        (lambda given: Mutation(roles=[given]), r"roles must be a list of names.*\(got \[5\]\)"),
        (lambda given: Mutation(allow=given), "allow must be a function of the viewer, or None"),
        (lambda given: Mutation(beside=given), "beside must be a function of the transaction, or None"),
        (lambda given: Mutation(read=given), "read must be a function of the transaction and an id, or None"),
        (lambda given: Refused("No.", path=given), r"path must be the name of a parameter, or a tuple.* \(got 5\)"),
        (InvalidParameters, "errors must be a list of pairs"),
        (lambda _: InvalidParameters("no"), "errors must be a list of pairs"),  # type: ignore[arg-type]
        (lambda _: InvalidParameters(["no", 5]), "errors must be a list of pairs"),  # type: ignore[list-item]
        (lambda given: JobRequest(given, {}), "handler must be the name of a handler"),
        (lambda given: JobRequest("test.one", given), "params must be a dict of parameters"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_its_name(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make(5)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_deprecated_function_makes_a_deprecated_mutation(*, is_async: bool) -> None:
    async def one(job: Any) -> None: ...
    def other(job: Any) -> None: ...

    made = handler("test.old", mutation=True)(deprecated("Use `test.new`.")(one if is_async else other))
    assert made.mutation is not None
    assert made.mutation.deprecated == "Use `test.new`."
