"""The estimate of what an operation asks for."""

from typing import Any

import pytest
from graphql import FragmentDefinitionNode, OperationDefinitionNode, parse

from onward.graphql.execution.costs import READ, cost


def estimate(text: str, **variables: Any) -> int:
    document = parse(text)
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    (operation,) = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    return cost(operation.selection_set, fragments).of(variables)


def test_a_page_counts_as_often_as_it_is_long() -> None:
    assert estimate("{ jobs(first: 7) { nodes { id } } }") == 1 + 7 * 2


@pytest.mark.parametrize(
    "inner",
    [
        "children { nodes { id } }",
        "children { edges { node { id } } }",
        "children { ... on JobConnection { nodes { id } } }",
        "children { ...page }",
    ],
)
def test_a_page_inside_a_page_is_seen_in_any_form(inner: str) -> None:
    fragment = "fragment page on JobConnection { nodes { id } }" if "...page" in inner else ""
    assert estimate(f"{{ jobs(first: 200) {{ nodes {{ {inner} }} }} }} {fragment}") > 200 * 50 * 2


@pytest.mark.parametrize(
    ("arguments", "variables", "length"),
    [
        ("first: $n", {"n": 200}, 200),
        ("first: $n", {"n": 200.0}, 200),
        ("first: $n", {"n": None}, 50),
        ("first: $n", {"n": True}, 50),
        ("first: $n, last: 200", {"n": None}, 200),
        ("last: 200, first: $n", {"n": None}, 200),
        ("first: $n, last: $m", {"m": 7}, 7),
    ],
)
def test_the_largest_length_counts_in_any_form(arguments: str, variables: dict[str, Any], length: int) -> None:
    text = f"query($n: Int, $m: Int) {{ jobs({arguments}) {{ nodes {{ id }} }} }}"
    assert estimate(text, **variables) == 1 + length * 2


@pytest.mark.parametrize(
    "inner",
    [
        "children(first: 0) { nodes { id } }",
        "children { pageInfo { hasNextPage } }",
        "batch { counts { count } }",
        "batch { canRetryBatch }",
    ],
)
def test_each_read_inside_a_page_counts_even_if_nothing_is_there(inner: str) -> None:
    assert estimate(f"{{ jobs(first: 100) {{ nodes {{ {inner} }} }} }}") > 100 * READ


def test_the_jobs_of_a_worker_count_as_often_as_are_asked_for() -> None:
    assert estimate("{ workers { id jobs(first: 7) { id handler } } }") == 1 + 50 * (2 + READ + 7 * 2)


def test_the_counts_of_the_system_are_one_read() -> None:
    assert estimate("{ system { counts { status count } } }") == 4


@pytest.mark.parametrize(
    ("field", "length"),
    [("batches", 20), ("failures", 1_000), ("system { schedules", 200), ("workers", 50), ("batches(first: 7)", 7)],
)
def test_a_list_counts_as_often_as_it_is_long_where_nothing_is_said(field: str, length: int) -> None:
    depth = field.count("{") + 1
    assert estimate(f"{{ {field} {{ id name {'}' * depth} }}") == depth + length * 2


def test_a_list_counts_by_its_own_length_where_its_variable_is_not_given() -> None:
    assert estimate("query($n: Int) { system { schedules(first: $n) { name } } }") == 2 + 200
