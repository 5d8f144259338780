"""GraphQL over HTTP: allowed requests and their answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.graphql.conftest import Api, running, settings_in

QUERY = "{ viewer { roles } }"
VIEWER = {"data": {"viewer": {"roles": ["admin"]}}}
GRAPHQL = "application/graphql-response+json"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, application/json;q=0.9", GRAPHQL),
        (f"application/json, {GRAPHQL}", GRAPHQL),
        (f"application/json;q=0.9, {GRAPHQL};q=0.8", "application/json"),
        (f"{GRAPHQL};q=0, application/json", "application/json"),
        ("APPLICATION/JSON", "application/json"),
    ],
)
async def test_an_answer_has_the_requested_media_type(api: Api, accept: str | None, answered: str) -> None:
    request = api.http.build_request("POST", "/graphql", json={"query": QUERY})
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    response = await api.http.send(request)
    assert response.status_code == 200
    assert response.headers["content-type"] == answered
    assert response.json() == VIEWER


@pytest.mark.parametrize("accept", ["text/html", "image/png", "application/xml;q=1", f"{GRAPHQL};q=0"])
async def test_an_unsupported_media_type_is_406(api: Api, accept: str) -> None:
    response = await api.post({"query": QUERY}, headers={"accept": accept})
    assert response.status_code == 406
    assert response.json()["errors"][0]["extensions"]["code"] == "NOT_ACCEPTABLE"


@pytest.mark.parametrize("query", ["{", "{ nope }", "query($id: ID!) { job(id: $id) { id } }", ""])
@pytest.mark.parametrize(("accept", "status"), [(GRAPHQL, 400), ("*/*", 400), ("application/json", 200)])
async def test_errors_before_execution_are_400_save_for_clients_that_know_only_json(
    api: Api, query: str, accept: str, status: int
) -> None:
    response = await api.post({"query": query}, headers={"accept": accept})
    assert response.status_code == status
    assert response.json()["errors"]
    assert "data" not in response.json()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5",
        b"null",
        b'"x"',
        b"[]",
        b'[{"query": "{ viewer { roles } }"}]',
        b"{}",
        b'{"query": 5}',
        b'{"query": null}',
        b'{"query": "{ viewer { roles } }", "operationName": 5}',
        b'{"query": "{ viewer { roles } }", "variables": []}',
        b'{"query": "{ viewer { roles } }", "extensions": "x"}',
        b'{"query": "{ viewer { roles } }", "query": "{ viewer { roles } }"}',
        b'{"query": "{ viewer { roles } }", "variables": {"a" : {"b": 1, "b": 2}}}',
        b'{"query": "{ viewer { roles } }", "variables": {"a": NaN}}',
        b'{"query": "{ viewer { roles } }", "variables": {"a": Infinity}}',
        b'{"query": "{ viewer { roles } }", "variables": {"a": ' + b"9" * 5_000 + b"}}",
        b'{"query": "{ viewer { roles } }", "variables": ' + b'{"a":' * 90 + b"1" + b"}" * 90 + b"}",
        b'{"query": "{ viewer { roles } }", "variables": {"a": ' + b"[" * 40_000 + b"}}",
        b'{"query": "\xff\xfe"}',
        b'{"query": "\\ud800"}',
        '{"query": "{ viewer { roles } }"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"query": "{ viewer { roles } }"}',
        b'{"query": "{ viewer { roles } }"} x',
    ],
)
async def test_a_body_that_is_not_a_request_is_400(api: Api, body: bytes) -> None:
    response = await api.post(body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/jsonfoo", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/json; charset=utf-16", "application/graphql"],
)  # fmt: skip
async def test_a_body_that_is_not_json_in_utf_8_is_415(api: Api, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await api.http.post("/graphql", content=json.dumps({"query": QUERY}).encode(), headers=headers)
    assert response.status_code == 415
    assert response.json()["errors"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
async def test_json_in_utf_8_is_accepted_in_any_form(api: Api, content_type: str) -> None:
    body = json.dumps({"query": QUERY}).encode()
    response = await api.http.post("/graphql", content=body, headers={"content-type": content_type})
    assert response.json() == VIEWER


async def test_a_body_that_is_too_large_is_413(api: Api) -> None:
    response = await api.post(json.dumps({"query": QUERY, "variables": {"x": "y" * 100_000}}))
    assert response.status_code == 413


async def test_a_chunked_body_that_is_too_large_is_413(api: Api) -> None:
    async def chunks() -> Any:
        for _ in range(200):
            yield b" " * 1_000

    headers = {"content-type": "application/json"}
    response = await api.http.post("/graphql", content=chunks(), headers=headers)
    assert response.status_code == 413


async def test_queries_are_answered_by_get_in_development_and_where_the_settings_say_so(
    api: Api, tmp_path: Path
) -> None:
    """Development allows GET; elsewhere proxies would log URLs, and with them a query's variables."""
    variables = {"query": "query ($n: Int) { jobs(first: $n) { nodes { id } } }", "variables": '{"n": 1}'}
    answer = await api.http.get("/graphql", params=variables)
    assert (answer.status_code, answer.json()) == (200, {"data": {"jobs": {"nodes": []}}})
    mutation = await api.http.get("/graphql", params={"query": "mutation { __typename }"})
    assert (mutation.status_code, mutation.headers["allow"]) == (405, "POST")
    public = {"environment": "production", "auth": {"mode": "open", "allow_public": True}}
    for get_queries, status in ((None, 405), (True, 200)):
        folder = tmp_path / str(status)
        folder.mkdir()
        gql = {} if get_queries is None else {"get_queries": get_queries}
        async with running(settings_in(folder, gql=gql, **public)) as there:
            assert (await there.http.get("/graphql", params={"query": QUERY})).status_code == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods_than_post_are_405(api: Api, method: str) -> None:
    response = await api.http.request(method, "/graphql", params={"query": QUERY})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


async def test_a_browser_is_shown_the_explorer(api: Api) -> None:
    response = await api.http.get("/graphql", headers={"accept": BROWSER})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9", "file://", "http://[", "http://"]
)
async def test_a_page_of_another_origin_is_refused(api: Api, origin: str) -> None:
    response = await api.post({"query": QUERY}, headers={"origin": origin})
    assert response.status_code == 403
    assert response.json()["errors"][0]["extensions"]["code"] == "CROSS_SITE"


async def test_a_page_of_the_server_s_own_origin_is_answered(api: Api) -> None:
    response = await api.post({"query": QUERY}, headers={"origin": "http://127.0.0.1:8000"})
    assert response.json() == VIEWER


async def test_a_foreign_host_name_that_resolves_to_this_machine_is_refused(api: Api) -> None:
    """DNS rebinding makes the origin and the host the same, and both are the attacker's."""
    headers = {"origin": "http://evil.example:8000", "host": "evil.example:8000"}
    assert (await api.post({"query": QUERY}, headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "path", ["/", "/graphql", "/metrics", "/health/live", "/health/ready", "/static/shared/icon.svg"]
)
async def test_an_open_server_answers_no_path_under_a_foreign_name(api: Api, path: str) -> None:
    """After DNS rebinding a page's own name leads here, and its GET has no Origin."""
    refused = await api.http.get(path, headers={"host": "evil.example:8000"})
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (403, "CROSS_SITE")
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "192.0.2.7"):
        assert (await api.http.get(path, headers={"host": host})).status_code != 403


async def test_a_server_with_a_named_origin_answers_under_that_name(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path, server={"origins": ["https://app.example.com"]})) as api:
        assert (await api.http.get("/health/live", headers={"host": "app.example.com"})).status_code == 200
        assert (await api.http.get("/health/live", headers={"host": "evil.example"})).status_code == 403


@pytest.mark.parametrize("host", ["", "a b", "x/../y", "[::1", "a:b:c", "a:123456"])
async def test_a_malformed_host_is_400(api: Api, host: str) -> None:
    response = await api.post({"query": QUERY}, headers={"host": host})
    assert response.status_code == 400
    assert response.json()["errors"]


async def test_one_of_several_operations_is_chosen_by_name(api: Api) -> None:
    query = "query A { viewer { roles } } query B { viewer { id } }"
    assert (await api.post({"query": query, "operationName": "B"})).json() == {"data": {"viewer": {"id": None}}}
    for name in (None, "C", ""):
        response = await api.post({"query": query, "operationName": name})
        assert response.status_code == 400
        assert "data" not in response.json()


@pytest.mark.parametrize("accept", ["*/*", GRAPHQL, f"{GRAPHQL}, text/event-stream;q=0"])
async def test_a_subscription_is_answered_by_events_alone(api: Api, accept: str) -> None:
    response = await api.post({"query": "subscription { jobsUpdated { id } }"}, headers={"accept": accept})
    assert response.status_code == 406


@pytest.mark.parametrize("accept", [f"{GRAPHQL}, text/event-stream", "text/event-stream;q=0.1, */*"])
async def test_a_client_that_accepts_events_too_gets_them_for_a_subscription(api: Api, accept: str) -> None:
    """A query of the client is answered in the media type that it prefers."""
    stream = await api.post({"query": "subscription { count(to: 1) }"}, headers={"accept": accept})
    assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert '{"data":{"count":0}}' in stream.text
    assert (await api.post({"query": QUERY}, headers={"accept": accept})).json() == VIEWER


async def test_every_answer_has_the_security_headers(api: Api) -> None:
    for response in (
        await api.post({"query": QUERY}),
        await api.http.get("/nowhere"),
        await api.http.get("/health/live"),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


async def test_no_cache_keeps_an_answer(api: Api) -> None:
    """By GET, a cache could give it to the next viewer, who has another cookie or token."""
    for response, status in (
        (await api.post({"query": QUERY}), 200),
        (await api.http.get("/graphql", params={"query": QUERY}), 200),
        (await api.http.get("/graphql", params={"query": "{"}, headers={"accept": GRAPHQL}), 400),
        (await api.http.get("/graphql", params={"query": "mutation { __typename }"}), 405),
    ):
        assert (response.status_code, response.headers["cache-control"]) == (status, "private, no-store")


async def test_there_is_no_openapi_page(api: Api) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert (await api.http.get(path)).status_code == 404
