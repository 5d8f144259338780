"""Errors of a request, in the form that callers see."""

from typing import Any

import pytest
from graphql import build_schema, execute, parse, validate

from onward.graphql.execution.masking import of_request

SCHEMA = build_schema("type Query { a(n: Int, id: ID!, f: F): Int } input F { s: [Int!] }")


def message_for(declared: str, value: Any) -> str:
    """Return the message for a variable of this type and value."""
    argument = {"Int": "n", "F": "f"}.get(declared, "id")
    more = "" if argument == "id" else ', id: "1"'
    document = parse(f"query($v: {declared}) {{ a({argument}: $v{more}) }}")
    error = execute(SCHEMA, document, variable_values={"v": value}).errors[0]  # type: ignore[union-attr,index]
    return str(of_request(error)["message"])


@pytest.mark.parametrize(
    ("declared", "value", "end"),
    [
        ("Int", True, "Int cannot represent non-integer value: true"),
        ("Int", {"nope": None}, 'Int cannot represent non-integer value: {"nope": null}'),
        ("Int", [False, "é"], 'Int cannot represent non-integer value: [false, "é"]'),
        ("Int", "True", "Int cannot represent non-integer value: 'True'"),
        ("Int", "value: [1]", "Int cannot represent non-integer value: 'value: [1]'"),
        ("Int", 1.5, "Int cannot represent non-integer value: 1.5"),
        ("Int", [[[[1]]]], "Int cannot represent non-integer value: [[[...]]]"),  # cut short by graphql-core
        ("ID!", None, "Expected value of non-null type 'ID!' not to be null."),
        ("F", True, "Expected value of type 'F' to be an object, found: true."),
        ("F", {"t": 1}, 'Found: {"t": 1}.'),
        ("F", {"s": [None]}, "at .s[0]: Expected value of non-null type 'Int!' not to be null."),
    ],
)
def test_a_wrong_value_is_shown_as_callers_write_it(declared: str, value: Any, end: str) -> None:
    assert message_for(declared, value).endswith(end)


@pytest.mark.parametrize(
    ("document", "end"),
    [
        ("{ a(id: null) }", "Expected value of non-null type 'ID!' not to be null."),
        ('{ a(id: "1", n: true) }', "Int cannot represent non-integer value: true"),
        ('{ a(id: "1", f: {t: 1}) }', "Found: { t: 1 }."),
        ('{ a(id: "1", n: ' + "[" * 150 + "]" * 150 + ") }", "\n]"),
    ],
)
def test_a_wrong_literal_stays_as_it_was_written(document: str, end: str) -> None:
    (error,) = validate(SCHEMA, parse(document))
    assert of_request(error)["message"].endswith(end)
