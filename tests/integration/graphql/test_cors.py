"""CORS: pages of other origins may not call, except those that the settings name."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from websockets.asyncio.client import connect
from websockets.typing import Origin, Subprotocol

from onward import Onward
from onward.api.cors import HEADERS
from onward.config.settings import SettingsError
from tests.embedded.project import write
from tests.integration.graphql.conftest import MODULES, running, serving, settings_in
from tests.integration.graphql.test_websocket import INIT, PROTOCOL, Client, client

APP = "https://app.example.com"
QUERY = {"query": "{ viewer { roles } }"}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


def asking(*headers: str) -> dict[str, str]:
    """Return the headers of a preflight for a request with those headers."""
    return {**PREFLIGHT, "access-control-request-headers": ",".join(sorted(name.lower() for name in headers))}


async def test_a_page_of_a_named_origin_may_call_and_another_may_not(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path, server={"origins": [APP]})) as api:
        response = await api.post(QUERY, headers={"origin": APP})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, APP)
        asked = await api.http.request("OPTIONS", "/graphql", headers={"origin": APP, **PREFLIGHT})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, APP)
        assert "access-control-allow-credentials" not in {**asked.headers, **response.headers}
        assert response.headers["access-control-expose-headers"] == "Retry-After"
        asked = await api.http.request("OPTIONS", "/graphql", headers={"origin": APP, **asking(*HEADERS)})
        assert asked.status_code == 200
        asked = await api.http.request("OPTIONS", "/graphql", headers={"origin": APP, **asking("x-tenant")})
        assert asked.status_code == 400
        events = await api.post(QUERY, headers={"origin": APP, "accept": "text/event-stream"})
        assert (events.status_code, events.headers["access-control-allow-origin"]) == (200, APP)
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


async def test_the_settings_let_further_headers_and_cookies_through(tmp_path: Path) -> None:
    """The origin's name may be written in capitals, too."""
    server = {"origins": ["https://App.Example.com"], "cors_headers": ["X-Tenant"], "cors_credentials": True}
    async with running(settings_in(tmp_path, server=server)) as api:
        asked = await api.http.request("OPTIONS", "/graphql", headers={"origin": APP, **asking("x-tenant")})
        assert asked.status_code == 200
        response = await api.post(QUERY, headers={"origin": APP})
        for found in (asked, response):
            assert found.headers["access-control-allow-origin"] == APP
            assert found.headers["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize("server", [{"origins": ["*"], "cors_credentials": True}, {"cors_headers": ["*"]}])
def test_stars_are_refused(tmp_path: Path, server: Any) -> None:
    """With cookies they would let every page act for whoever visits it."""
    with pytest.raises(SettingsError, match=r"server\.(origins|cors_headers)"):
        settings_in(tmp_path, server=server)


@pytest.mark.parametrize("cookies", [False, True])
async def test_a_socket_of_a_named_origin_has_cookies_if_the_settings_say_so(tmp_path: Path, cookies: bool) -> None:  # noqa: FBT001
    """Browsers send them with every handshake. The server's own pages always have theirs."""
    gql = {"modules": ["tests.integration.graphql.inputs"]}
    with serving(settings_in(tmp_path, gql=gql, server={"origins": [APP], "cors_credentials": cookies})) as address:
        for origin, seen in ((APP, "session=1" if cookies else None), (f"http://{address}", "session=1")):
            async with connect(
                f"ws://{address}/graphql",
                subprotocols=[Subprotocol(PROTOCOL)],
                origin=Origin(origin),
                additional_headers={"cookie": "session=1"},
            ) as socket:
                c = Client(socket)
                await c.send(INIT)
                await c.receive()
                answer = (await c.run('{ header(name: "cookie") }'))[0]
                assert answer["payload"]["data"] == {"header": seen}


async def test_mounted_the_outer_application_s_cors_is_the_only_one(tmp_path: Path) -> None:
    """`server.origins` says which pages are answered."""
    onward = Onward.from_settings(write(tmp_path, f"sqlite:///{tmp_path}/onward.db", f'[server]\norigins = ["{APP}"]'))
    plain, outer = FastAPI(lifespan=onward.lifespan), FastAPI()
    plain.mount("/graphql", onward.graphql)
    outer.mount("/", plain)
    outer.add_middleware(CORSMiddleware, allow_origins=[APP], allow_methods=["POST"], allow_headers=["x-tenant"])
    async with plain.router.lifespan_context(plain):
        for app, allowed in ((plain, None), (outer, APP)):
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1") as http:
                response = await http.post("/graphql", json=QUERY, headers={"origin": APP})
                assert response.status_code == 200
                assert response.headers.get_list("access-control-allow-origin") == ([allowed] if allowed else [])
                asked = await http.request("OPTIONS", "/graphql", headers={"origin": APP, **asking("x-tenant")})
                assert asked.status_code == (200 if allowed else 405)
                evil = await http.post("/graphql", json=QUERY, headers={"origin": "https://evil.example"})
                assert (evil.status_code, "access-control-allow-origin" in evil.headers) == (403, False)
