"""Limits of a request."""

import asyncio
import sys
from collections.abc import Callable
from functools import partial

import pytest
from graphql import DocumentNode, parse

from onward.api.base import status_of
from onward.graphql.base import BadRequest
from onward.graphql.execution.documents import Documents
from onward.graphql.execution.limits import Limits, check, long_number
from onward.graphql.execution.requests import load
from tests import application
from tests.integration.graphql.conftest import Api


def deep(levels: int) -> str:
    """Nest fields to that depth."""
    return "{ jobs " + "{ nodes " * (levels - 2) + "{ id }" + " }" * (levels - 1)


def nested(levels: int) -> str:
    """Nest fragments that each spread the next one twice."""
    fragments = [f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)]
    return "{ ...F0 } " + " ".join(fragments) + f" fragment F{levels} on Query {{ viewer {{ id }} }}"


@pytest.mark.parametrize(
    ("query", "what"),
    [
        (deep(13), "levels"),
        ("{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(16)) + " }", "aliases"),
        ("{ viewer { " + " ".join(["id @skip(if: false)"] * 51) + " } }", "directives"),
        ("{ viewer { " + "id " * 500 + "} }", "fields"),
        (
            "mutation { "
            + " ".join(f'm{n}: cancelJob(input: {{id: "x"}}) {{ job {{ id }} }}' for n in range(6))
            + " }",
            "mutations",
        ),
        (nested(10), "fields"),
        ("{ viewer { id " + "... { " * 70 + "id" + " }" * 70 + " } }", "levels"),
        ("{ viewer { id } } # " + "a\n#" * 1_001, "tokens"),
        ("{ viewer { " + "id " * 1_000 + "} }", "tokens"),
        ("{ " + "viewer { id } " * 101 + "}", "pairs"),
        ("{ viewer { id } } fragment F on Viewer { " + "id " * 101 + "}", "pairs"),
        ("{ viewer { id } } " + nested(24).partition("}")[2].replace("...F", "viewer { id } ...F"), "fields"),
    ],
    ids=lambda value: value if len(value) < 12 else "",
)
async def test_an_operation_above_a_limit_is_400(api: Api, query: str, what: str) -> None:
    response = await api.post({"query": query})
    assert response.status_code == 400
    message = response.json()["errors"][0]["message"]
    assert what in message or "Parsing aborted" in message


@pytest.mark.parametrize(
    "query",
    [
        "{{ jobs(first: {}) {{ nodes {{ id }} }} }}",
        "query($n: Int = {}) {{ jobs(first: $n) {{ nodes {{ id }} }} }}",
        "mutation {{ cancelJob(input: {{id: {}}}) {{ errors {{ message }} }} }}",
    ],
)
@pytest.mark.parametrize("number", ["9" * 5_000, "-0." + "1" * 5_000])
async def test_a_number_too_long_to_convert_is_refused_in_plain_words(api: Api, query: str, number: str) -> None:
    response = await api.post({"query": query.format(number)})
    (error,) = response.json()["errors"]
    assert (response.status_code, error["message"]) == (400, "A number in the document has more than 1,000 characters.")
    assert error["extensions"] == {"code": "TOO_COMPLEX"}
    assert error["locations"] == [{"line": 1, "column": query.format("?").index("?") + 1}]


@pytest.mark.parametrize("text", ["9" * 5_000, "-1." + "9" * 5_000])
def test_digits_in_a_text_are_no_number(text: str) -> None:
    assert long_number(parse(f'{{ job(id: "{text}") {{ id }} }}')) is None
    assert long_number(parse(f'{{ job(id: """{text}""") {{ id }} }}')) is None


@pytest.mark.parametrize(
    "query",
    [
        deep(12),
        "{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(15)) + " }",
        "{ viewer { " + " ".join(["id @skip(if: false)"] * 50) + " } }",
        "{ viewer { " + "id roles " * 70 + "} }",
        "{ " + "...F " * 200 + "} fragment F on Query { viewer { id } }",
        "mutation { " + " ".join(f'm{n}: cancelJob(input: {{id: "x"}}) {{ job {{ id }} }}' for n in range(5)) + " }",
        nested(7),
    ],
    ids=["depth", "aliases", "directives", "pairs", "spreads", "mutations", "fragments"],
)
def test_an_operation_at_a_limit_is_accepted(query: str) -> None:
    assert check(parse(query), Limits()) is None


def calls(work: Callable[[], object]) -> int:
    """Return the number of function calls, a cost that does not depend on the machine's load."""
    made = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal made
        made += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return made


def test_fragments_that_multiply_are_counted_in_linear_time() -> None:
    """Twice the levels are 4,096 times the fields, and at most three times the work."""
    documents = Documents(application.schema()._schema, Limits())
    documents.get("{ viewer { id } }")
    short, long = (calls(partial(documents.get, nested(levels))) for levels in (12, 24))
    assert long < 3 * short
    assert "fields" in documents.get(nested(24)).errors[0]["message"]


def test_empty_fragments_that_multiply_are_counted_in_linear_time() -> None:
    def document(levels: int) -> DocumentNode:
        fragments = " ".join(f"fragment F{n} on Mutation {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels))
        return parse(f"mutation {{ ...F0 }} {fragments} fragment F{levels} on Mutation {{ __typename }}")

    short, long = (calls(partial(check, document(levels), Limits())) for levels in (12, 24))
    assert long < 3 * short


@pytest.mark.parametrize(
    "query",
    [
        "{ ...A } fragment A on Query { ...A }",
        "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
        "{ ...A }",
        "fragment A on Query { viewer { id } }",
    ],
)
async def test_cyclic_or_unused_fragments_are_400(api: Api, query: str) -> None:
    assert (await api.post({"query": query})).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "{ viewer { " + "id " * 100 + "} }",
        "{ " + "viewer { id } " * 70 + "}",
        "{ " + "".join(f"jobs(first: {n % 2}) {{ nodes {{ id }} }} " for n in range(57)) + "}",
        "{ " + "...A " * 120 + "} fragment A on Query { viewer { id } }",
        "{ "
        + " ".join(f"...A{n}" for n in range(60))
        + " } "
        + " ".join(f"fragment A{n} on Query {{ viewer {{ id roles }} }}" for n in range(60)),
        "{ " + "x " * 900 + "}",
        "query(" + " ".join(f"$v{n}: Int" for n in range(200)) + ") { viewer { id } }",
    ],
    ids=["same fields", "same objects", "conflicts", "spreads", "fragments", "unknown fields", "variables"],
)
def test_the_most_expensive_documents_within_the_limits_are_cheap(query: str) -> None:
    """Their time is the delay that one request may cause for others."""
    documents = Documents(application.schema()._schema, Limits())
    documents.get("{ viewer { id } }")
    assert calls(partial(documents.get, query)) < 200_000


async def test_documents_that_are_expensive_to_parse_do_not_delay_others(api: Api) -> None:
    dear = [f"{{ a{n}: __typename {'viewer { id } ' * 70}}}" for n in range(5)]
    reading = asyncio.gather(*(api.post({"query": query}) for query in dear))
    answered = 0
    while not reading.done():
        await api.data("{ viewer { id } }")
        await asyncio.sleep(0.001)  # within one process a request may be answered without anybody waiting
        answered += 1
    assert {response.status_code for response in await reading} == {200}
    assert answered > 3


async def test_at_most_five_errors_are_listed(api: Api) -> None:
    errors = await api.errors("{ " + " ".join(f"nope{n}" for n in range(50)) + " }")
    assert len(errors) <= 5


async def test_introspection_is_within_the_limits(api: Api) -> None:
    from graphql import build_client_schema, get_introspection_query

    data = await api.data(get_introspection_query(descriptions=True, input_value_deprecation=True))
    assert "Job" in build_client_schema(data).type_map


def test_the_cache_of_documents_is_bounded() -> None:
    documents = Documents(application.schema()._schema, Limits(documents=200))
    for n in range(100):
        documents.get(f"{{ a{n}: viewer {{ id }} }}")
        documents.get("{ nope" + "#" * n + "\n}")
    assert documents._weight <= 200
    assert len(documents._kept) < 40


def test_a_document_is_parsed_once() -> None:
    documents = Documents(application.schema()._schema, Limits())
    assert documents.get("{ viewer { id } }") is documents.get("{ viewer { id } }")


async def test_a_long_document_does_not_wait_for_others_for_ever() -> None:
    documents = Documents(application.schema()._schema, Limits(timeout_s=1e-6))
    with pytest.raises(BadRequest, match="send it again") as refused:
        await documents.find("{ viewer { " + "id " * 300 + "} }")
    assert (status_of(refused.value), refused.value.code) == (503, "TIMEOUT")
    assert not (await documents.find("{ viewer { id } }")).errors


@pytest.mark.parametrize("levels", [33, 2_000])
def test_json_that_is_too_deep_is_refused_with_the_limit(levels: int) -> None:
    with pytest.raises(BadRequest, match=r"^This JSON has more than 32 levels of objects and lists"):
        load("[" * levels + "]" * levels, 32)
    load("[" * 32 + "]" * 32, 32)
