"""Common GraphQL clients and tools, each against the running server."""

import json
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from tests import application
from tests.integration.graphql.conftest import serving, settings_in
from tests.integration.graphql.test_viewers import SECRET, jwt_settings
from tests.processes import ROOT, running
from tests.system.clients.conftest import HERE, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]  # the first of them may install packages


def posted(url: str, body: Any) -> Any:
    return httpx2.post(url, json=body).json()


def test_all_audits_of_graphql_over_http_pass(node: Run, url: str) -> None:
    assert node("audits.mjs", url) == {"count": 61, "failed": []}


def test_without_queries_by_get_only_optional_audits_of_get_fail(node: Run, tmp_path: Path) -> None:
    application.write(tmp_path)
    with running("serve", "--port", "0", project=tmp_path, ONWARD_GQL__GET_QUERIES="false") as server:
        url = f"{server.serving()}/graphql"
        assert httpx2.get(url, params={"query": "{ __typename }"}).status_code == 405
        report = node("audits.mjs", url)
    assert report["count"] == 61
    assert not [failed for failed in report["failed"] if not re.match(r"notice MAY .*\bGETs?\b", failed)], report


def test_graphql_ws_watches_reconnects_resumes_and_renews_its_token(node: Run, url: str, tmp_path: Path) -> None:
    now = time.time()
    with serving(jwt_settings(tmp_path)) as address:
        # Four jobs, each a second later than the one before, counted from the start of the script.
        lasts = [now + 3.5, now + 6, now + 9, now + 600]
        tokens = [jwt.encode({"sub": "ada", "exp": until}, SECRET, "HS256") for until in lasts]
        report = node("ws.mjs", url, f"http://{address}/graphql", json.dumps(tokens))
    assert report["connections"] > 1


def test_graphql_sse_watches_and_reconnects(node: Run, url: str) -> None:
    assert node("sse.mjs", url)["states"][-1] == "SUCCEEDED"


def test_apollo_client_queries_watches_and_caches(node: Run, url: str) -> None:
    assert node("apollo.mjs", url)["states"][-1] == "SUCCEEDED"


def test_urql_queries_and_watches_over_both_transports(node: Run, url: str) -> None:
    assert set(node("urql.mjs", url)) == {"websocket", "events"}


def test_with_the_options_of_the_page_clients_survive_a_restart(node: Run, tmp_path: Path) -> None:
    """Both the WebSocket of graphql-ws and the event stream of urql reconnect to the new server."""
    application.write(tmp_path)
    begin = datetime.now(UTC) + timedelta(seconds=20)
    with running("serve", "--port", "0", project=tmp_path) as server:
        address = server.serving()
        url, when = f"{address}/graphql", f"{begin:%Y-%m-%dT%H:%M:%SZ}"
        body = {"query": f'mutation {{ processItem(input: {{item: "x", runAt: "{when}"}}) {{ job {{ id }} }} }}'}
        job = posted(url, body)["data"]["processItem"]["job"]["id"]
        program = shutil.which("node")
        assert program is not None
        watching = subprocess.Popen(
            [program, "restart.mjs", url, job], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert watching.stdout is not None
        assert {watching.stdout.readline(), watching.stdout.readline()} == {"watching graphql-ws\n", "watching urql\n"}
        server.end()
    with running("serve", "--port", address.rpartition(":")[2], project=tmp_path):
        report, _ = watching.communicate(timeout=90)
    assert json.loads(report) == {"graphql-ws": "SUCCEEDED", "urql": "SUCCEEDED"}


def test_relay_s_compiler_accepts_the_schema_and_its_documents_are_answered(
    node: Run, url: str, tmp_path: Path
) -> None:
    shutil.copytree(HERE / "relay", tmp_path / "src")
    shutil.copy(ROOT / "gql" / "schema.graphql", tmp_path / "schema.graphql")
    config = {"src": "src", "schema": "schema.graphql", "language": "javascript", "eagerEsModules": True}
    (tmp_path / "relay.config.json").write_text(json.dumps(config))
    compiler = HERE / "node_modules" / "relay-compiler" / "cli.js"
    node(compiler, "relay.config.json", cwd=tmp_path)
    made = {path.name.partition(".")[0]: path.read_text("utf-8") for path in tmp_path.rglob("*.graphql.js")}
    texts = {name: json.loads(found[1]) for name, text in made.items() if (found := re.search(r'"text": (".*")', text))}
    assert texts.keys() == {"pageQuery", "pageMoreQuery", "pageJobQuery", "pageRetryMutation", "pageWatchSubscription"}
    create = 'mutation { processItem(input: {item: "x"}) { job { id } } }'
    job = posted(url, {"query": create})["data"]["processItem"]["job"]["id"]
    variables: dict[str, dict[str, Any]] = {
        "pageQuery": {"count": 2},
        "pageMoreQuery": {"count": 2, "cursor": None},
        "pageJobQuery": {"id": job},
        "pageRetryMutation": {"input": {"id": job}},
    }
    answers = {name: posted(url, {"query": texts[name], "variables": given}) for name, given in variables.items()}
    assert not [name for name, answer in answers.items() if "errors" in answer], answers
    assert answers["pageJobQuery"]["data"]["node"]["__typename"] == "Job"
    assert answers["pageQuery"]["data"]["jobs"]["edges"][0]["node"]["id"] == job


def test_graphql_codegen_types_the_schema_and_its_documents_work_as_trusted(
    node: Run, url: str, tmp_path: Path
) -> None:
    folder = HERE / "node_modules" / ".codegen"  # `graphql` and `typescript` are imported from here
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "codegen", folder)
    node("codegen.mjs", url, folder)
    compiler = HERE / "node_modules" / "typescript" / "bin" / "tsc"
    strict = ("--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--skipLibCheck")
    (folder / "package.json").write_text('{"type": "module"}')
    node(compiler, *strict, folder / "page.ts")
    persisted = json.loads((folder / "made" / "persisted-documents.json").read_text("utf-8"))
    (tmp_path / "documents").mkdir()
    shutil.copy(folder / "made" / "persisted-documents.json", tmp_path / "documents")
    settings = settings_in(tmp_path, gql={"documents": "trusted", "documents_dir": "documents"})
    with serving(settings) as address:
        for hash_, text in persisted.items():
            body = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash_}}}
            answer = posted(f"http://{address}/graphql", {**body, "variables": {"input": {"item": "x"}}})
            assert "errors" not in answer, (text, answer)
        assert "errors" in posted(f"http://{address}/graphql", {"query": "{ viewer { id } }"})


def test_every_breaking_change_is_in_the_changelog(node: Run) -> None:
    """`released.graphql` is the schema of the last release; each new release replaces it."""
    breaking = node("breaking.mjs", HERE / "released.graphql", ROOT / "gql" / "schema.graphql")
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = changelog.split("\n## ")[1] if "\n## " in changelog else ""
    assert not [change for change in breaking if f"`{change['path']}`" not in newest]


def test_a_breaking_change_is_detected(node: Run, tmp_path: Path) -> None:
    text = (ROOT / "gql" / "schema.graphql").read_text("utf-8")
    (tmp_path / "after.graphql").write_text(text.replace("  done: Boolean!\n", "  finished: Boolean!\n"))
    breaking = node("breaking.mjs", ROOT / "gql" / "schema.graphql", tmp_path / "after.graphql")
    assert sorted(change["path"] for change in breaking) == ["Batch.done", "Job.done"]
