"""Compiled selections answer as graphql-core does: generated documents over generated values, right and wrong."""

import asyncio
import dataclasses
import inspect
import random
from collections import deque
from collections.abc import Generator
from datetime import UTC, datetime
from types import FunctionType, NoneType, SimpleNamespace
from typing import Any, cast

import pytest
import strawberry
from graphql import (
    ExecutionResult,
    Executor,
    GraphQLEnumType,
    GraphQLSchema,
    Undefined,
    build_schema,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.values import VariableValues
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from strawberry.execution import optimized_is_awaitable

from onward.graphql.direct import call_directly
from onward.graphql.execution.compiled_selections import CompiledExecutor
from onward.graphql.execution.documents import Document, Documents
from onward.graphql.execution.limits import Limits
from onward.graphql.inputs import scalar_input
from onward.graphql.meter import VALUE_BYTES, Meter
from onward.jobs.model import Job, Progress
from onward.jobs.states import StepStatus
from tests import application

DEEP = 4
DIRECTIVES = [" @include(if: $yes)", " @skip(if: $yes)", " @skip(if: false)"]
ROOTS = {"query": ("job", "viewer", "node", "system"), "mutation": ("processItem", "registerUser", "retryJobs")}
LEAVES = ["", "text", 0, 2**40, 1.5, True, datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1), {"a": [1]}]  # noqa: DTZ001


class Later:
    """A value that can be awaited any number of times."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return self.value


def rooted() -> GraphQLSchema:
    """Build a schema whose root fields take no arguments and return the context's values of the same names."""
    schema = application.schema()._schema
    for root in (schema.query_type, schema.mutation_type):
        assert root is not None
        for field in root.fields.values():
            field.args = {}
            field.resolve = lambda _root, info: info.context[info.field_name]
    return schema


SCHEMA = rooted()
CORE = Documents(SCHEMA, Limits())
JOB = SCHEMA.type_map["Job"]


class Request:
    """A document, its variables, and the value of each root field, all chosen by one seed.

    A generator drawing each choice from Hypothesis would take minutes for what this does in seconds.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._fragments: list[str] = []
        self.variables = {"yes": self._once_in(2)}
        self.resolved: dict[str, Any] = {}
        self._within = 0  # objects in objects: a job has a parent, and children
        self._oddly = self._once_in(2)  # half of the requests meet nothing that is out of the ordinary
        kind = self._chance.choice(["query", "mutation"])
        root = SCHEMA.type_map[kind.title()]
        assert is_object_type(root)
        fields = []
        for name in self._chance.sample(ROOTS[kind], self._chance.choice([1, 1, 2])):
            type_ = root.fields[name].type
            self.resolved[name] = self._value(type_)
            alias = f"{name}2: " if self._once_in(3) else ""
            fields.append(f"{alias}{name} {self._selection(get_named_type(type_))}")
        text = " ".join(["{", *fields, "}", *self._fragments])
        self.text = f"{kind} Q($yes: Boolean!) {text}" if "$yes" in text else f"{kind} {text}"

    def _once_in(self, n: int) -> bool:
        return not self._chance.randrange(n)

    def _value(self, type_: Any) -> Any:
        """Generate a value that a resolver of this type may return, sometimes a wrong one."""
        if is_non_null_type(type_):
            odd = self._oddly and self._once_in(40)
            type_ = type_.of_type
            return None if odd else self._present(type_)
        return None if self._once_in(6) or self._within > DEEP else self._present(type_)

    def _present(self, type_: Any) -> Any:
        if self._oddly and self._once_in(40):
            return self._chance.choice([RuntimeError("boom"), Undefined, object(), "text", [None], 7, ValueError])
        if self._oddly and self._once_in(40):
            return Later(self._value(type_))
        if is_list_type(type_):
            items = [self._value(type_.of_type) for _ in range(self._chance.randrange(4 if self._within < DEEP else 1))]
            return self._chance.choice([items, items, tuple(items), deque(items)])
        if is_leaf_type(type_):
            return self._leaf(type_)
        return self._object(JOB if is_abstract_type(type_) else type_)

    def _leaf(self, type_: Any) -> Any:
        if self._oddly and self._once_in(20):
            return self._chance.choice(LEAVES)
        if isinstance(type_, GraphQLEnumType):
            return self._chance.choice([value.value for value in type_.values.values()])
        return {"Int": 3, "Boolean": True, "DateTime": 1_700_000_000_000_000}.get(type_.name, "text")

    def _object(self, type_: Any) -> Any:
        made: Any = object.__new__(Job) if type_ is JOB else SimpleNamespace()
        self._within += 1
        for field in type_.fields.values():
            name = field.extensions["strawberry-definition"].python_name
            settable = type_ is not JOB or name in Job.__slots__
            if settable and not (self._oddly and self._once_in(80)):
                object.__setattr__(made, name, self._value(field.type))
        self._within -= 1
        return made

    def _selection(self, type_: Any, depth: int = 0) -> str:
        """Generate a selection set: aliases, both kinds of fragments, repeated fields, sometimes a directive."""
        parts = ["__typename"] if self._once_in(5) else []
        if is_abstract_type(type_):
            return f"{{ ... on Job {self._selection(JOB, depth + 1)} }}"
        for _ in range(self._chance.randint(1, 4)):
            match self._chance.choice(["field"] * 6 + ["inline", "named"]):
                case "field":
                    parts.append(self._field(type_, self._chance.choice([*type_.fields]), depth))
                case "inline" if depth < DEEP:
                    on = self._chance.choice(["", f"on {type_.name}"])
                    parts.append(f"... {on} {self._selection(type_, depth + 1)}")
                case "named" if depth < DEEP:
                    name = f"F{len(self._fragments)}"
                    self._fragments.append("")
                    self._fragments[int(name[1:])] = f"fragment {name} on {type_} {self._selection(type_, depth + 1)}"
                    parts += [f"...{name}"] * self._chance.randint(1, 2)
        return "{" + " ".join(filter(None, parts or ["__typename"])) + "}"

    def _field(self, parent: Any, name: str, depth: int) -> str:
        inner = get_named_type(parent.fields[name].type)
        if depth >= DEEP and not is_leaf_type(inner):
            return "__typename"
        alias = self._chance.choice(["", "", f"{name}2: ", f"{name}3: "])
        directive = self._chance.choice(DIRECTIVES) if self._once_in(60) else ""
        return f"{alias}{name}{directive} {'' if is_leaf_type(inner) else self._selection(inner, depth + 1)}"


def built(make: Any, document: Document, variables: Any, context: Any = None, schema: Any = SCHEMA) -> Any:
    """Build graphql-core's executor, or ours."""
    if make is Executor:
        awaitable: Any = optimized_is_awaitable
        return Executor.build(schema, document.node, None, context, variables, is_awaitable=awaitable)
    named = document.find(None)
    assert named is not None
    return CompiledExecutor.build(schema, document.node, None, context, variables, plan=named.plan)


async def answer(make: Any, document: Document, variables: Any, context: Any) -> Any:
    executor = built(make, document, variables, context)
    assert isinstance(executor, Executor)
    result = executor.execute_operation()
    if inspect.isawaitable(result):
        result = await result
    # After an error graphql-core lets the other awaited values end in the background.
    while further_ := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(further_)
    assert isinstance(result, ExecutionResult)
    errors = [(error.formatted, repr(error.original_error)) for error in result.errors or ()]
    return repr(result.data), errors


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**64))
def test_for_any_document_and_any_values_the_answer_is_that_of_graphql_core(seed: int) -> None:
    request = Request(seed)
    document = CORE.get(request.text)
    assume(not document.errors)
    named = document.find(None)
    assert named is not None
    theirs = asyncio.run(answer(Executor, document, request.variables, request.resolved))
    ours = asyncio.run(answer(CompiledExecutor, document, request.variables, request.resolved))
    assert ours == theirs
    compiled = named.plan is not None and named.plan.compiled
    event(f"{'with' if compiled else 'without'} compiled selections, {'with' if theirs[1] else 'without'} errors")


@pytest.mark.parametrize(
    ("text", "compiled"),
    [
        (
            "mutation { processItem { job { id status steps { name } } replayed errors { code path } } }",
            ["processItem"],
        ),
        ("mutation { a: processItem { replayed } retryJobs { count } }", ["a", "retryJobs"]),
        ("{ viewer { ...V } job(id: 1) { id waitingFor } } fragment V on Viewer { roles }", ["viewer"]),  # a resolver
        ("{ node { ... on Job { id } } }", []),  # an interface
        ("query($x: Boolean!) { viewer { id @skip(if: $x) } }", []),  # a directive
    ],
)
def test_a_root_field_with_only_plain_attributes_is_compiled(text: str, compiled: list[str]) -> None:
    document = CORE.get(text.replace("(id: 1)", ""))
    named = document.find(None)
    assert not document.errors
    assert named is not None
    assert list(named.plan.compiled if named.plan else ()) == compiled


def test_a_page_with_the_change_of_each_job_is_compiled() -> None:
    named = (
        Documents(call_directly(application.schema()), Limits()).get("{ jobs { change nodes { change } } }").find(None)
    )
    assert named is not None
    assert list(named.plan.compiled if named.plan else ()) == ["jobs"]


@pytest.mark.parametrize("result", [Later({"a": 1}), RuntimeError("boom"), {"a": [None, 1]}, None])
def test_awaitables_and_errors_are_not_values_of_a_field_of_any_type(result: Any) -> None:
    document = CORE.get("mutation { processItem { job { result } } }")
    named = document.find(None)
    assert named is not None
    job = object.__new__(Job)
    object.__setattr__(job, "result", result)
    context = {"processItem": SimpleNamespace(job=job)}
    theirs = asyncio.run(answer(Executor, document, {}, context))
    assert asyncio.run(answer(CompiledExecutor, document, {}, context)) == theirs


def step(status: Any, name: Any = "é") -> Any:
    return SimpleNamespace(name=name, index=1, status=status, result={"a": True})


@pytest.mark.parametrize("odd", [StepStatus.FAILED, "FAILED", 7, None, RuntimeError("boom"), Later(StepStatus.FAILED)])
def test_lists_that_are_sliced_inside_each_other_are_answered_as_by_graphql_core(odd: Any) -> None:
    jobs: list[Any] = []
    for number in range(25):
        job = object.__new__(Job)
        object.__setattr__(job, "handler", f"h{number}")
        object.__setattr__(job, "steps", [step(StepStatus.SUCCEEDED) for _ in range(number)])
        jobs.append(job)
    jobs[-2].steps.append(step(odd))
    jobs[-1].steps.append(step(StepStatus.PENDING, name=StepStatus.PENDING))
    document = CORE.get("{ jobs { nodes { __typename handler steps { name index status result } } } }")
    named = document.find(None)
    assert named is not None
    assert named.plan is not None
    assert list(named.plan.compiled) == ["jobs"]
    context = {"jobs": SimpleNamespace(nodes=jobs)}
    theirs = asyncio.run(answer(Executor, document, {}, context))
    assert asyncio.run(answer(CompiledExecutor, document, {}, context)) == theirs


def test_a_compiled_selection_completes_ordinary_values_without_graphql_core(monkeypatch: pytest.MonkeyPatch) -> None:
    document = CORE.get("mutation { retryJobs { count errors { message } } }")
    named = document.find(None)
    assert named is not None
    monkeypatch.setattr(Executor, "complete_value", None)
    context = {"retryJobs": SimpleNamespace(count=3, errors=[])}
    found = asyncio.run(answer(CompiledExecutor, document, {}, context))
    assert found == ("{'retryJobs': {'count': 3, 'errors': []}}", [])


def test_an_operation_whose_resolver_answers_at_once_is_executed_at_once() -> None:
    context = {"retryJobs": SimpleNamespace(count=3)}
    executor = built(CompiledExecutor, CORE.get("mutation { retryJobs { count } }"), {}, context)
    assert executor.execute_operation() == ExecutionResult({"retryJobs": {"count": 3}}, None)


def test_arguments_that_change_how_fields_are_executed_leave_the_plan_out() -> None:
    document = CORE.get("mutation { retryJobs { count } }")
    named = document.find(None)
    assert named is not None
    seen: list[str] = []

    def middleware(resolve: Any, source: Any, info: Any) -> Any:
        seen.append(info.field_name)
        return resolve(source, info)

    context = {"retryJobs": SimpleNamespace(count=3)}
    executor = CompiledExecutor.build(SCHEMA, document.node, None, context, plan=named.plan, middleware=[middleware])
    assert isinstance(executor, Executor)
    executor.execute_operation()
    assert seen == ["retryJobs", "count"]


def test_compiled_documents_count_with_their_fragments_expanded() -> None:
    spread = "fragment F on System { counts { n: count m: count } } { system { ...F } viewer { roles } }"
    assert CORE.get(spread).weight > CORE.get(spread.replace("viewer { roles }", "viewer { __typename }")).weight


def test_documents_that_differ_in_names_of_their_own_have_the_same_generated_code() -> None:
    texts = ("{ viewer { id roles } }", "query Own { mine: viewer { only_here: id all: roles } }")
    plans = [named.plan for text in texts if (named := CORE.get(text).find(None)) is not None]
    (theirs,), (ours,) = (plan.compiled.values() for plan in plans if plan is not None)
    assert getattr(ours.complete, "__code__", None) is getattr(theirs.complete, "__code__", 0)


@pytest.mark.parametrize(("reason", "values", "bytes_"), [("éx", 2, 3 + 2 * VALUE_BYTES), (None, 1, VALUE_BYTES)])
def test_the_meter_counts_fields_and_what_is_in_texts_and_json(reason: Any, values: int, bytes_: int) -> None:
    """A text counts as two values, and so does JSON beside the values in it."""
    document = CORE.get("{ job { version reason progress { completed } result } }")
    named = document.find(None)
    assert named is not None
    assert named.plan is not None
    job, info, result = object.__new__(Job), cast("Any", None), ["four"]
    for name, value in {"version": 1, "reason": reason, "progress": Progress(1, None, None), "result": result}.items():
        object.__setattr__(job, name, value)
    counted = Meter()
    answer = named.plan.compiled["job"].complete(job, info, counted)
    assert answer == {"version": 1, "reason": reason, "progress": {"completed": 1}, "result": result}
    assert counted.most[0] - counted.values == values + 3 + 3
    assert counted.most[1] - counted.bytes == bytes_ + 5 * VALUE_BYTES + len('["four"]')


def test_inputs_of_scalars_equal_those_of_strawberry() -> None:
    @strawberry.input
    class Plain:
        some_text: str
        named: int | None = strawberry.field(name="other")
        flag: bool = True

    @scalar_input
    @strawberry.input
    class Quick:
        some_text: str
        named: int | None = strawberry.field(name="other")
        flag: bool = True

    seen: list[Any] = []

    @strawberry.type
    class Query:
        @strawberry.field
        def slow(self, input: Plain) -> bool:
            seen.append(input)
            return True

        @strawberry.field
        def fast(self, input: Quick) -> bool:
            seen.append(input)
            return True

    schema = strawberry.Schema(Query)
    for given_ in ('someText: "a"', 'someText: "a", other: 3, flag: false', 'someText: "", other: null'):
        result = schema.execute_sync(f"{{ slow(input: {{{given_}}}) fast(input: {{{given_}}}) }}")
        assert result.errors is None
        slow, fast = seen[-2:]
        assert dataclasses.asdict(slow) == dataclasses.asdict(fast)


WHOLE = application.schema()._schema
VARIABLES = """
query($filter: JobFilter, $first: Int = 3, $id: ID!) {
  jobs(filter: $filter, first: $first) { ...Page }
  job(id: $id) { id }
}
fragment Page on JobConnection { nodes { id } }
"""


@pytest.mark.parametrize(
    "given_",
    [
        {"filter": {"status": ["QUEUED"], "handler": "a.*"}, "first": 1, "id": "job_1"},
        {"filter": {"status": "QUEUED", "createdAfter": "2030-01-01T00:00:00Z"}, "first": None, "id": 7, "more": 1},
        {"filter": None, "first": 1, "id": "job_1"},
        {"filter": {}, "id": "job_1"},
        {"id": "job_1"},
        {"filter": {"status": ["NONE"]}, "first": 1, "id": "job_1"},
        {"filter": {"more": 1}, "first": 1.5, "id": "job_1"},
        {"filter": [], "first": 2**40, "id": ""},
        {"filter": {}, "first": 1, "id": None},
        {"filter": {}, "first": 1},
        {},
        None,
    ],
)
def test_variables_right_and_wrong_are_coerced_as_by_graphql_core(given_: Any) -> None:
    document = Documents(WHOLE, Limits()).get(VARIABLES)
    assert not document.errors
    theirs, ours = (
        coerced_or_errors(built(make, document, given_, schema=WHOLE)) for make in (Executor, CompiledExecutor)
    )
    assert ours == theirs


def test_variables_that_are_nested_too_deeply_are_refused_as_by_graphql_core() -> None:
    schema = build_schema("input Nested { in: Nested } type Query { field(in: Nested): Int }")
    document = Documents(schema, Limits()).get("query($in: Nested) { field(in: $in) }")
    nested: dict[str, Any] = {}
    for _ in range(5_000):
        nested = {"in": nested}
    theirs, ours = (
        coerced_or_errors(built(make, document, {"in": nested}, schema=schema)) for make in (Executor, CompiledExecutor)
    )
    assert ours == theirs == [{"message": "Variable values are nested too deeply."}]


def test_executors_of_one_plan_share_nothing_that_an_execution_changes() -> None:
    """A planned executor takes these attributes with the first that is needed."""
    document = CORE.get("mutation { retryJobs { count } }")
    made = [built(make, document, {}) for make in (Executor, CompiledExecutor, CompiledExecutor)]
    assert [one.operation.kind for one in made] == ["operation_definition"] * 3
    theirs, ours, other = map(vars, made)
    plain = (str, bool, NoneType, FunctionType, VariableValues)
    shared = {name for name, value in ours.items() if value is other[name] and not isinstance(value, plain)}
    assert shared == {"plan", "compiled", "fragment_definitions", "fragments", "operation", "schema"}
    assert ours.keys() - {"plan", "compiled", "meter"} == theirs.keys() - {"async_helpers"}


INPUTS = build_schema("""
    input Plain { text: String!, more: String, number: Int, list: [String!], inner: Plain }
    input Usual { text: String = "a", more: String }
    type Query { plain(in: Plain): Int, usual(in: Usual!): Int }
""")
ANY = st.sampled_from(
    [None, "a", 1, 2**40, True, ["a"], [None], {}, {"text": "b"}, {"text": "b", "number": "c"}, Undefined]
)
OBJECTS = st.dictionaries(st.sampled_from(["text", "text", "more", "number", "list", "inner", "unknown"]), ANY)


@pytest.mark.parametrize("text", ["query($in: Plain) { plain(in: $in) }", "query($in: Usual!) { usual(in: $in) }"])
@given(value=OBJECTS | ANY)
def test_input_objects_are_coerced_as_by_graphql_core(text: str, value: Any) -> None:
    document = Documents(INPUTS, Limits()).get(text)
    theirs, ours = (
        coerced_or_errors(built(make, document, {"in": value}, schema=INPUTS)) for make in (Executor, CompiledExecutor)
    )
    assert ours == theirs
    assert repr(ours) == repr(theirs)  # in the same order


def coerced_or_errors(built_: Any) -> Any:
    if isinstance(built_, list):
        return [error.formatted for error in built_]
    values: VariableValues = built_.variable_values
    sources = {name: (source.value, str(source.signature.type)) for name, source in values.sources.items()}
    return sources, values.coerced, built_.operation, built_.fragments, built_.fragment_definitions
