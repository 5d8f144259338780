"""Plugin of pytest: graphql-core's tests build our executor, with a plan for each operation that may have one.

Their schemas have no Strawberry fields, so a field without a resolver is planned as an attribute or an entry of a dict.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    execution,
    print_ast,
    validate,
)
from graphql.execution.collect_fields import FieldDetails

from onward.graphql.execution.compiled_selections import CompiledExecutor, Plan, Planner
from onward.graphql.execution.completions import CompiledSelection, NotCovered
from onward.graphql.value_resolver import ValueResolver

# The arguments of `build` after the operation's name, in the order in which graphql-core's functions pass them.
ARGUMENTS = (
    "field_resolver",
    "type_resolver",
    "subscribe_field_resolver",
    "max_coercion_errors",
    "enable_early_execution",
    "middleware",
    "is_awaitable",
    "is_async_iterable",
)

counts: Counter[str] = Counter()
outcomes: dict[str, str] = {}


class AttributePlanner(Planner):
    def _field(self, parent: GraphQLObjectType, nodes: list[FieldDetails]) -> GraphQLField:
        field = super()._field(parent, nodes)
        if field.resolve is None and not field.args:
            field = copy(field)
            field.resolve = ValueResolver(_read(nodes[0].node.name.value))
        return field


def _read(name: str) -> Callable[[Any], Any]:
    def read(source: Any) -> Any:
        value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        if callable(value):  # graphql-core calls it, which may have effects
            raise NotCovered
        return value

    return read


def _counted(selection: CompiledSelection) -> CompiledSelection:
    def complete(*given: Any) -> Generator[None, None, Any]:
        try:
            made = selection.complete(*given)
            completed = (yield from made) if selection.sliced else made
        except Exception:
            counts["values left to graphql-core"] += 1
            raise
        counts["values completed by compiled code"] += 1
        return completed

    return CompiledSelection(complete, sliced=True)


def _plan(schema: GraphQLSchema, document: DocumentNode, name: str | None) -> Plan | None:
    """Plan the operation as `Documents` does; None for a document that it would refuse or leave to graphql-core."""
    fragments = [node for node in document.definitions if isinstance(node, FragmentDefinitionNode)]
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    named = [node for node in operations if name in (None, node.name and node.name.value)]
    if len(named) != 1 or any(node.variable_definitions for node in fragments) or "@" in print_ast(document):
        return None
    try:
        if validate(schema, document):
            return None
    except (GraphQLError, TypeError):  # a schema that is invalid itself
        return None
    plan = AttributePlanner(schema, document).plan(named[0])
    return plan._replace(compiled={name: _counted(selection) for name, selection in plan.compiled.items()})


class Planned(CompiledExecutor):
    @classmethod
    def build(  # noqa: PLR0917 - graphql-core's signature
        cls,
        schema: GraphQLSchema,
        document: DocumentNode,
        root_value: Any = None,
        context_value: Any = None,
        raw_variable_values: dict[str, Any] | None = None,
        operation_name: str | None = None,
        *given: Any,
        plan: Plan | None = None,
        **further: Any,
    ) -> list[GraphQLError] | CompiledExecutor:
        named = {**dict(zip(ARGUMENTS, given, strict=False)), **further}
        named = {name: value for name, value in named.items() if value is not None and value is not False}
        counts["operations"] += 1
        plan = _plan(schema, document, operation_name)
        counts["operations with a plan"] += plan is not None
        return super().build(
            schema, document, root_value, context_value, raw_variable_values, operation_name, plan=plan, **named
        )


def pytest_configure() -> None:
    """Build ours wherever graphql-core's functions, and the tests themselves, build its executor."""
    functions = sys.modules["graphql.execution.execute"]
    for module in (functions, execution):
        module.Executor = Planned  # type: ignore[attr-defined]
    functions.IncrementalExecutor = Planned  # type: ignore[attr-defined]
    functions.ExecutorThrowingOnIncremental = Planned  # type: ignore[attr-defined]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    Path(os.environ["OUTCOMES"]).write_text(json.dumps({"counts": counts, "outcomes": outcomes}))
