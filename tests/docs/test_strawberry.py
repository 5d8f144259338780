"""The application on the page about schemas of one's own answers as the page says."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import strawberry
from starlette.testclient import TestClient
from strawberry.fastapi import GraphQLRouter
from strawberry.tools import merge_types

from tests.docs.fences import fences
from tests.processes import ROOT

PAGE = ROOT / "docs" / "strawberry.md"
MODULES = ("parcels", "shop_api", "shop_context", "orders")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of the page, imported from a folder of this test."""
    for fence in fences(PAGE):
        if fence.file:
            (tmp_path / fence.file).write_text(fence.text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    try:
        yield import_module("shop_api")
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def ask(client: TestClient, query: str, path: str = "/graphql", user: str = "ada") -> Any:
    return client.post(path, json={"query": query}, headers={"x-user": user} if user else {}).json()


def test_the_application_on_the_page_answers(shop: Any) -> None:
    import_module("shop_context")
    orders = import_module("orders")
    mutation = merge_types("Mutation", (orders.Orders, shop.onward.Mutation))
    own = strawberry.Schema(query=shop.Query, mutation=mutation)
    shop.app.include_router(GraphQLRouter(own, context_getter=shop.onward.context), prefix="/orders")
    send = 'mutation { parcelsSend(input: {to: "Eve"}) { job { id } errors { code } } }'
    with TestClient(shop.app) as client:
        job_id = ask(client, send)["data"]["parcelsSend"]["job"]["id"]
        result = f'{{ hello job(id: "{job_id}") {{ result }} }}'
        deadline = time.monotonic() + 30
        while (found := ask(client, result)["data"]) != {"hello": "hello", "job": {"result": "sent to Eve"}}:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        assert ask(client, result, "/with-prices")["data"]["job"] == {"result": "sent to Eve"}
        assert ask(client, result, user="eve")["data"]["job"] is None
        assert ask(client, send, user="")["data"]["parcelsSend"]["errors"] == [{"code": "NOT_ALLOWED"}]
        place = 'mutation { placeOrder(input: {to: "Bob"}) { job { handler } errors { code } } }'
        placed = ask(client, place, "/orders")["data"]["placeOrder"]
        assert placed == {"job": {"handler": "parcels.send"}, "errors": []}
        refused = ask(client, place, "/orders", user="")["data"]["placeOrder"]
        assert refused == {"job": None, "errors": [{"code": "NOT_ALLOWED"}]}
