"""Checks of GraphQL auditors, such as graphql-cop, against a server with production settings."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query

from tests.integration.graphql.conftest import Api, serving
from tests.integration.graphql.test_viewers import as_payload, behind_tokens, header, jwt_settings
from tests.integration.graphql.test_websocket import INIT, client

CIRCLE = (
    "{ __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }"
)
SPREADS = "{ __schema { ...A } } fragment A on __Schema { __typename ...B } fragment B on __Schema { ...A }"
INTROSPECTION = (
    get_introspection_query(),
    "query cop { __schema { types { name fields { name } } } }",
    "{ a: __schema { queryType { name } } }",
    '{ __type(name: "Job") { name } }',
    '{ viewer { id } b: __type(name: "Job") { fields { name } } }',
    "{ ...F } fragment F on Query { __schema { queryType { name } } }",
    "{ ... on Query { __schema { queryType { name } } } }",
    "mutation { __schema { queryType { name } } }",
    "subscription { __schema { queryType { name } } }",
    CIRCLE,
)
TOO_MUCH = (
    "query cop { " + " ".join(f"alias{n}: __typename" for n in range(101)) + " }",
    "query cop { " + "__typename " * 501 + "}",
    "query cop { __typename " + "@aa" * 10 + " }",
    SPREADS,
)


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with behind_tokens(tmp_path_factory.mktemp("onward"), environment="production") as api:
        yield api


async def ask(api: Api, body: Any, **options: Any) -> Any:
    return (await api.post(body, headers=header("ada"), **options)).json()


@pytest.mark.parametrize("query", INTROSPECTION, ids=range(len(INTROSPECTION)))
async def test_the_schema_is_not_revealed(api: Api, query: str) -> None:
    answer = await ask(api, {"query": query})
    assert "data" not in answer
    assert re.search("introspection|__schema", answer["errors"][0]["message"])


@pytest.mark.parametrize(
    "query", ["{ __schema { directive } }", "{ jobz { id } }", "{ viewer { ids } }", '{ job(idd: "x") { id } }']
)
async def test_no_names_are_suggested(api: Api, query: str) -> None:
    assert "Did you mean" not in json.dumps(await ask(api, {"query": query}))


async def test_an_error_about_a_wrong_value_does_not_reveal_valid_ones(api: Api) -> None:
    for status in ("FAILEDD", "SUCCESS"):
        answer = await ask(api, {"query": f"{{ jobs(filter: {{status: {status}}}) {{ nodes {{ id }} }} }}"})
        given = {
            "query": "query($f: JobFilter) { jobs(filter: $f) { nodes { id } } }",
            "variables": {"f": {"status": [status]}},
        }
        for body in (answer, await ask(api, given), await ask(api, {**given, "variables": {"f": {"statuses": 1}}})):
            assert "data" not in body
            assert "Did you mean" not in json.dumps(body)


@pytest.mark.parametrize("query", TOO_MUCH, ids=["aliases", "fields", "directives", "circle"])
async def test_multiplying_documents_are_refused(api: Api, query: str) -> None:
    answer = await ask(api, {"query": query})
    assert "data" not in answer
    assert len(answer["errors"]) <= 5


async def test_a_list_of_requests_is_refused(api: Api) -> None:
    assert "data" not in (answer := await ask(api, [{"query": "query cop { __typename }"}] * 11))
    assert isinstance(answer, dict)


async def test_neither_get_nor_forms_run_anything(api: Api) -> None:
    for query in ("{ __typename }", "mutation { __typename }"):
        got = await api.http.get("/graphql", params={"query": query}, headers=header("ada"))
        posted = await api.http.post("/graphql", params={"query": query}, headers=header("ada"))
        form = await api.http.post("/graphql", data={"query": query}, headers=header("ada"))
        assert [response.status_code for response in (got, posted, form)] == [405, 415, 415]


async def test_there_is_no_explorer(api: Api) -> None:
    for path in ("/graphql", "/graphiql", "/playground", "/console", "/altair", "/voyager", "/docs", "/openapi.json"):
        response = await api.http.get(path, headers={"accept": "text/html"})
        assert response.status_code in (404, 405)
        assert "graphiql" not in response.text.lower()


async def test_errors_have_no_tracebacks(api: Api) -> None:
    for query in ("qwerty cop { abc }", "query cop { __typename }", "{"):
        body = json.dumps(await ask(api, {"query": query})).lower()
        assert not [word for word in ("exception", "stacktrace", "tracing", "traceback", ".py") if word in body]


async def test_the_schema_is_not_revealed_over_a_socket_either(tmp_path: Path) -> None:
    with serving(jwt_settings(tmp_path, environment="production")) as address:
        async with client(address, init=False) as c:
            await c.send({**INIT, "payload": as_payload("ada")})
            await c.receive()
            for query in INTROSPECTION:
                [body] = await c.run(query)
                assert body["type"] == "error"
