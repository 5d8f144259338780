"""Trusted documents, and a server that answers no others."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from onward.api.app import create_app
from onward.config.settings import SettingsError
from onward.web import documents
from tests.integration.graphql.conftest import MODULES, Api, running, serving, settings_in
from tests.integration.graphql.test_websocket import client

KNOWN = "query mine { viewer { roles } }"
OTHER = "query other { viewer { id } }"
GENERATED = "query generated { system { version } }"
ROLES = {"data": {"viewer": {"roles": ["admin"]}}}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def by_hash(hash_: str, **further: Any) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash_}}, **further}


def with_documents(tmp_path: Path, mode: str = "trusted") -> Any:
    folder = tmp_path / "documents"
    (folder / "deeper").mkdir(parents=True, exist_ok=True)
    (folder / "mine.graphql").write_text(f"{KNOWN}\n")
    (folder / "deeper" / f"{sha256(OTHER)}.graphql").write_text(OTHER)
    (folder / "persisted.json").write_text(json.dumps({sha256(GENERATED): GENERATED}))
    return settings_in(tmp_path, gql={**MODULES, "documents": mode, "documents_dir": "documents"})


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with running(with_documents(tmp_path_factory.mktemp("onward"))) as api:
        yield api


@pytest.mark.parametrize(
    "body",
    [
        {"query": KNOWN},
        {"query": f"{KNOWN}\n"},
        by_hash(sha256(KNOWN)),
        by_hash(sha256(f"{KNOWN}\n")),
        by_hash(sha256(KNOWN).upper()),
        by_hash(f"sha256:{sha256(KNOWN)}"),
        {"documentId": f"sha256:{sha256(KNOWN)}"},
        by_hash(sha256(KNOWN), query=KNOWN),
        by_hash(sha256(KNOWN), query=None, operationName="mine", variables={}),
    ],
)
async def test_a_known_document_is_answered_by_text_and_by_hash(api: Api, body: Any) -> None:
    assert (await api.post(body)).json() == ROLES


async def test_documents_by_their_hash_come_from_files_of_both_kinds(api: Api) -> None:
    assert (await api.post(by_hash(sha256(OTHER)))).json() == {"data": {"viewer": {"id": None}}}
    assert (await api.post(by_hash(sha256(GENERATED)))).json()["data"]["system"]["version"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/graphql-response+json"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": "{ viewer { roles } }"}, 403, "DOCUMENT_NOT_TRUSTED"),
        ({"query": KNOWN.replace("roles", "roles id")}, 403, "DOCUMENT_NOT_TRUSTED"),
        ({"query": KNOWN + " # x"}, 403, "DOCUMENT_NOT_TRUSTED"),
        ({"query": "{"}, 403, "DOCUMENT_NOT_TRUSTED"),
        ({"query": "\ud800"}, 400, "BAD_REQUEST"),
        ({"query": ""}, 403, "DOCUMENT_NOT_TRUSTED"),
        (by_hash(sha256("{ x }"), query="{ x }"), 403, "DOCUMENT_NOT_TRUSTED"),
        (by_hash(sha256(KNOWN), query="{ x }"), 400, "BAD_REQUEST"),
        (by_hash(sha256("{ x }")), 404, "PERSISTED_QUERY_NOT_FOUND"),
        (by_hash(""), 404, "PERSISTED_QUERY_NOT_FOUND"),
        (by_hash("../mine"), 404, "PERSISTED_QUERY_NOT_FOUND"),
        (by_hash(5), 400, "BAD_REQUEST"),  # type: ignore[arg-type]
        ({"extensions": {"persistedQuery": []}}, 400, "BAD_REQUEST"),
        ({"extensions": {}}, 400, "BAD_REQUEST"),
        ({"documentId": f"md5:{sha256(KNOWN)}"}, 404, "PERSISTED_QUERY_NOT_FOUND"),
        ({"documentId": 5}, 400, "BAD_REQUEST"),
        ({"query": KNOWN, "extensions": ["x"]}, 400, "BAD_REQUEST"),
    ],
)
async def test_any_other_document_is_refused(api: Api, body: Any, status: int, code: str, accept: str) -> None:
    response = await api.post(json.dumps(body), headers={"accept": accept})
    assert response.status_code == status
    assert response.json()["errors"][0]["extensions"]["code"] == code
    assert "data" not in response.json()


async def test_over_a_socket_an_unknown_document_is_an_error_and_the_socket_stays_open(tmp_path: Path) -> None:
    with serving(with_documents(tmp_path)) as address:
        async with client(address) as c:
            (refused,) = await c.run("{ viewer { roles } }")
            assert (refused["type"], refused["payload"][0]["extensions"]) == ("error", {"code": "DOCUMENT_NOT_TRUSTED"})
            assert (await c.run(KNOWN))[0]["payload"] == ROLES
            await c.send({"id": "h", "type": "subscribe", "payload": by_hash(sha256(KNOWN))})
            assert (await c.receive())["payload"] == ROLES


async def test_the_console_is_answered(api: Api) -> None:
    texts = documents.documents()
    assert len(texts) >= 10
    for text in texts:
        assert "DOCUMENT_NOT_TRUSTED" not in (await api.post({"query": text})).text


def test_the_documents_of_the_console_are_those_that_a_browser_sends() -> None:
    """No other documents are in its sources, but those of forms, which are made of the schema that the server shows."""
    sources = documents.HERE / "console" / "src"
    texts = [
        json.loads(text)
        for path in sources.glob("generated/*.ts")
        for text in re.findall(r'^  text: (".*"),$', path.read_text("utf-8"), re.MULTILINE)
    ]
    assert sorted(texts) == sorted(documents.documents())
    scripts = [path for path in sources.rglob("*.ts*") if path.parent.name != "generated"]
    others = [
        path.name for path in scripts if re.search(r"[`']\s*(query|mutation|subscription)\b", path.read_text("utf-8"))
    ]
    assert others == ["inputs.ts"]


async def test_with_documents_any_known_documents_have_a_hash_too(tmp_path: Path) -> None:
    async with running(with_documents(tmp_path, "any")) as api:
        assert (await api.post({"query": "{ viewer { roles } }"})).json() == ROLES
        assert (await api.post(by_hash(sha256(KNOWN)))).json() == ROLES
        response = await api.post(by_hash(sha256("x")))
        assert (response.status_code, response.json()["errors"][0]["message"]) == (404, "PersistedQueryNotFound")


async def test_without_documents_a_hash_is_refused_with_the_error_that_clients_know(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        response = await api.post(by_hash(sha256(KNOWN)))
        assert (response.status_code, response.json()["errors"][0]["message"]) == (400, "PersistedQueryNotSupported")
        assert (await api.post(by_hash(sha256(KNOWN), query=KNOWN))).json() == ROLES


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.graphql", b"{ nope }", "a.graphql cannot be answered: Cannot query field 'nope'"),
        ("a.graphql", b"\xff", "a.graphql is neither a document in UTF-8"),
        (f"{'0' * 64}.graphql", KNOWN.encode(), "0.graphql is not the SHA-256 of its text"),
        ("a.json", b"[]", "a.json is neither a document"),
        ("a.json", b"{", "a.json is neither a document"),
        ("a.json", json.dumps({"x": KNOWN}).encode(), "a.json: x is not the SHA-256 of its text"),
        ("a.json", json.dumps({"x": 5}).encode(), "a.json is neither a document"),
        ("a.graphql", ("query q { " + "a: viewer { id } " * 20 + "}").encode(), "conflict|more than"),
    ],
)
def test_an_invalid_document_stops_the_start(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    settings = with_documents(tmp_path)
    (tmp_path / "documents" / name).write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        create_app(settings)


def test_a_missing_folder_stops_the_start(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, gql={**MODULES, "documents": "trusted", "documents_dir": "nowhere"})
    with pytest.raises(SettingsError, match=r"gql.documents_dir: .*nowhere is not a folder"):
        create_app(settings)
    with pytest.raises(SettingsError, match=r"gql.documents_dir must name a folder"):
        settings_in(tmp_path, gql={**MODULES, "documents": "trusted"})
