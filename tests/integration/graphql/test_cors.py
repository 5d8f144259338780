"""CORS: pages of other origins may not call, except those that the settings name."""

from pathlib import Path

from tests.integration.graphql.conftest import MODULES, running, serving, settings_in
from tests.integration.graphql.test_websocket import client

APP = "https://app.example.com"
QUERY = {"query": "{ viewer { roles } }"}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


async def test_a_page_of_a_named_origin_may_call_and_another_may_not(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path, server={"origins": [APP]})) as api:
        response = await api.post(QUERY, headers={"origin": APP})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, APP)
        asked = await api.http.request("OPTIONS", "/graphql", headers={"origin": APP, **PREFLIGHT})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, APP)
        assert "access-control-allow-credentials" not in asked.headers
        for evil in ("https://evil.example", "null", f"{APP}.evil.example", "http://app.example.com"):
            refused = await api.post(QUERY, headers={"origin": evil})
            assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)
            asked = await api.http.request("OPTIONS", "/graphql", headers={"origin": evil, **PREFLIGHT})
            assert "access-control-allow-origin" not in asked.headers


async def test_without_a_named_origin_there_is_no_cors(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        asked = await api.http.request("OPTIONS", "/graphql", headers={"origin": APP, **PREFLIGHT})
        assert (asked.status_code, "access-control-allow-origin" in asked.headers) == (405, False)


async def test_sockets_of_a_named_origin_are_accepted(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path, gql=MODULES, server={"origins": [APP]})) as address:
        async with client(address, origin=APP) as c:
            assert (await c.run("{ viewer { roles } }"))[0]["type"] == "next"
