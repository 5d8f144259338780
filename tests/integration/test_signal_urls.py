"""Addresses of signals: signed, with an expiry, answered by the service and inside another application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from onward import JobContext, Onward, sequence, wait_for
from onward.api import signals
from onward.config.settings import Settings
from onward.jobs import commands
from onward.jobs.model import EVERYTHING
from onward.jobs.signal_urls import Expired, Forged, SignalUrls
from onward.runtime.values import signal_urls
from onward.storage.lock_order import ALONE
from tests.embedded.project import write
from tests.integration.graphql.conftest import Api, running, settings_in, until
from tests.integration.graphql.test_signals import JOB, Approval, waiting

KEY, OTHER = "k" * 32, "o" * 32
DAY = timedelta(days=1)
BASE = "https://shop.example/signal"
MODULES = ["tests.integration.graphql.test_signals", __name__]
HERE = {"handlers": {"modules": MODULES}, "signals": {"secret": [KEY], "url": "http://127.0.0.1:8000/signal"}}
HTML = {"accept": "text/html,*/*;q=0.8"}


def token_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_a_token_is_read_with_any_of_the_keys() -> None:
    """A key is replaced without a break: the new one goes first, and the old one stays for a while."""
    url = SignalUrls([KEY], f"{BASE}/").make("job_1", "approval", DAY)
    assert url.startswith(f"{BASE}/")
    for keys in ([KEY], [OTHER, KEY]):
        assert SignalUrls(keys, BASE).read(token_of(url)) == ("job_1", "approval", None)
    with pytest.raises(Forged):
        SignalUrls([OTHER], BASE).read(token_of(url))


def test_any_other_token_is_forged() -> None:
    urls = SignalUrls([KEY], BASE)
    token = token_of(urls.make("job_1", "approval", DAY))
    said, _, signature = token.partition(".")
    other = token_of(urls.make("job_2", "approval", DAY)).partition(".")[0]
    for wrong in ("", ".", "words", said, f"{said}.", f"{other}.{signature}", f"{said}.{signature[:-2]}AA", "é." * 9):
        with pytest.raises(Forged):
            urls.read(wrong)
    with pytest.raises(Forged):
        urls.read("a" * 5_000)
    with pytest.raises(Forged):
        SignalUrls([], BASE).read(token)


def test_a_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = SignalUrls([KEY], BASE)
    token = token_of(urls.make("job_1", "approval", DAY))
    later = time.time() + DAY.total_seconds() + 2
    monkeypatch.setattr("onward.jobs.signal_urls.time.time", lambda: later)
    with pytest.raises(Expired):
        urls.read(token)


@pytest.mark.parametrize(
    ("keys", "arguments", "error", "message"),
    [
        ([], ("job_1", "approval", DAY), ValueError, "set signals.secret"),
        ([KEY], ("job_1", "approval", timedelta(0)), ValueError, "more than 0"),
        ([KEY], ("job_1", "approval", 60), TypeError, "expires must be a timedelta"),
        ([KEY], (1, "approval", DAY), TypeError, "the job must be a job's id"),
        ([KEY], ("job_1", "a\nb", DAY), ValueError, "line break"),
    ],
)
def test_a_wrong_address_is_not_made(keys: list[str], arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SignalUrls(keys, BASE).make(*arguments)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("onward"), **HERE)


@pytest.fixture(scope="module")
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings) as api:
        yield api


def url_of(settings: Settings, job_id: str, expires: timedelta = DAY) -> str:
    return signal_urls(settings).make(job_id, "approval", expires)


def test_the_key_is_in_no_text_of_the_settings(settings: Settings) -> None:
    assert KEY not in repr(settings)
    assert KEY not in str(settings)


async def test_get_shows_a_form_and_changes_nothing(api: Api, settings: Settings) -> None:
    """A mail scanner opens every address."""
    job_id = await waiting(api)
    url = url_of(settings, job_id)
    for method in ("GET", "HEAD"):
        page = await api.http.request(method, url, headers=HTML)
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
        assert page.headers["referrer-policy"] == "no-referrer"
    page = await api.http.get(url)
    assert "&quot;approved&quot;" in page.text
    assert (await api.data(JOB, id=job_id))["job"]["status"] == "WAITING"


async def test_post_sends_the_signal(api: Api, settings: Settings) -> None:
    """The same again changes nothing, another one is a conflict, and the page says that it has been answered."""
    job_id = await waiting(api)
    url = url_of(settings, job_id)
    for _ in range(2):
        answer = await api.http.post(url, json={"approved": True, "comment": "by mail"})
        assert (answer.status_code, answer.json()) == (200, {"errors": []})
    assert await api.ends(job_id) == "SUCCEEDED"
    assert (await api.data(JOB, id=job_id))["job"]["result"] == "words True by mail"
    assert (await api.http.post(url, json={"approved": False})).status_code == 409
    assert "This has been answered." in (await api.http.get(url)).text


async def test_a_form_is_read_by_its_type(api: Api, settings: Settings) -> None:
    job_id = await waiting(api)
    url = url_of(settings, job_id)
    wrong = await api.http.post(url, data={"approved": "perhaps"})
    assert wrong.status_code == 422
    assert [error["path"] for error in wrong.json()["errors"]] == [["payload", "approved"]]
    answer = await api.http.post(url, data={"approved": "true", "comment": "of a form"}, headers=HTML)
    assert (answer.status_code, "Thank you." in answer.text) == (200, True)
    assert await api.ends(job_id) == "SUCCEEDED"


async def test_a_wrong_payload_names_its_paths(api: Api, settings: Settings) -> None:
    answer = await api.http.post(url_of(settings, await waiting(api)), json={"approved": 1})
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [["payload", "approved"]]


async def test_bad_requests_are_refused(api: Api, settings: Settings) -> None:
    job_id = await waiting(api)
    url = url_of(settings, job_id)
    expired = SignalUrls([KEY], settings.signals.url)
    cases: list[tuple[str, dict[str, Any], int]] = [
        (url[:-2] + "AA", {"json": {"approved": True}}, 403),
        (SignalUrls([OTHER], settings.signals.url).make(job_id, "approval", DAY), {"json": {}}, 403),
        (expired.make("job_0", "approval", DAY), {"json": {"approved": True}}, 404),
        (expired.make(job_id, "other", DAY), {"json": {"approved": True}}, 404),
        (url, {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        (url, {"content": b"a", "headers": {"content-type": "text/plain"}}, 415),
        (url, {"content": b"[" + b"1," * 60_000, "headers": {"content-type": "application/json"}}, 413),
        (url, {"content": b"[" * 50_000, "headers": {"content-type": "application/json"}}, 400),
        (url, {"content": b"a=" + b"%ff", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 422),
        (url, {"content": b"a&" * 300, "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400),
    ]
    for address, body, status in cases:
        answer = await api.http.post(address, **body)
        assert answer.status_code == status, (address, body, answer.text)
        assert answer.json()["errors"], answer.text
    assert (await api.http.put(url)).status_code == 405
    assert (await api.data(JOB, id=job_id))["job"]["status"] == "WAITING"


async def test_an_address_that_has_expired_is_gone(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = url_of(settings, await waiting(api))
    later = time.time() + DAY.total_seconds() + 2
    monkeypatch.setattr("onward.jobs.signal_urls.time.time", lambda: later)
    assert (await api.http.get(url)).status_code == 410
    assert (await api.http.post(url, json={"approved": True})).status_code == 410


async def ask(job: JobContext, *, signal: str = "approval") -> str:
    try:
        return job.signal_url(signal)
    except ValueError as error:
        return str(error)


async def publish(job: JobContext, approval: Approval) -> str:
    return approval.comment


asked = sequence("signals.asked", (ask, wait_for("approval", Approval), publish), mutation=True)


async def test_a_body_that_does_not_arrive_is_408(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "BODY_TIMEOUT_S", 0.1)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    url, headers = url_of(settings, await waiting(api)), {"content-type": "application/json"}
    async with asyncio.timeout(20):
        answer = await api.http.post(url, content=slowly(), headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (408, "the body took too long to arrive")


async def test_an_address_of_a_step_is_for_its_run_of_the_job(api: Api) -> None:
    """A retry by hand is another run, which nobody who has the old address has seen; the program may allow any run."""
    runtime = api.app.state.onward
    job_id = (await api.mutate("signalsAsked"))["job"]["id"]
    await until(lambda: is_waiting(api, job_id))
    url = (await api.data(JOB, id=job_id))["job"]["steps"][0]["result"]
    of_any_run = url_of(runtime.settings, job_id)
    of_first_run = signal_urls(runtime.settings).make(job_id, "approval", DAY, run=1)
    assert [(await api.http.get(one)).status_code for one in (url, of_any_run, of_first_run)] == [200] * 3
    await runtime.writer.run(lambda tx: commands.cancel(tx, job_id, reason=None, visible=EVERYTHING))
    route = runtime.dispatcher.route
    await runtime.writer.run(
        lambda tx: commands.retry(tx, job_id, from_start=True, visible=EVERYTHING, route=route), ALONE
    )
    runtime.dispatcher.wake()
    await until(lambda: is_waiting(api, job_id))
    for old in (url, of_first_run):
        for answer in (await api.http.get(old), await api.http.post(old, json={"approved": True, "comment": "old"})):
            assert (answer.status_code, "has been retried since" in answer.text) == (409, True)
    again = (await api.data(JOB, id=job_id))["job"]["steps"][0]["result"]
    assert (await api.http.get(of_any_run)).status_code == 200
    assert (await api.http.post(again, json={"approved": True, "comment": "new"})).status_code == 200
    assert await api.ends(job_id) == "SUCCEEDED"
    assert (await api.data(JOB, id=job_id))["job"]["result"] == "new"


async def test_a_step_makes_no_address_of_a_signal_that_its_handler_does_not_wait_for(api: Api) -> None:
    job_id = (await api.mutate("signalsAsked", signal="ask"))["job"]["id"]
    await until(lambda: is_waiting(api, job_id))
    said = (await api.data(JOB, id=job_id))["job"]["steps"][0]["result"]
    assert said == "signal_url: signals.asked waits for no signal 'ask'; it waits for approval"


async def is_waiting(api: Api, job_id: str) -> bool:
    return bool((await api.data(JOB, id=job_id))["job"]["status"] == "WAITING")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Onward, TestClient]]:
    """An application of others with the console at /jobs, behind a proxy that strips /shop."""
    more = f'[signals]\nsecret = ["{KEY}"]\nurl = "http://testserver/jobs/signal"\n'
    file = write(tmp_path, f"sqlite:///{tmp_path}/onward.db")
    text = file.read_text().replace("modules = [", 'modules = ["tests.integration.graphql.test_signals", ', 1)
    file.write_text(f"{text}\n{more}")
    onward = Onward.from_settings(file)
    app = FastAPI(lifespan=onward.lifespan)
    app.mount("/graphql", onward.graphql)
    app.mount("/jobs", onward.pages)
    with TestClient(app, root_path="/shop") as client:
        yield onward, client


def test_an_address_works_in_another_application(mounted: tuple[Onward, TestClient]) -> None:
    onward, client = mounted
    query = 'mutation { signalsReport(input: {text: "words"}) { job { id } } }'
    job_id = client.post("/graphql", json={"query": query}).json()["data"]["signalsReport"]["job"]["id"]
    url = onward.signal_url(job_id, "approval", expires=DAY)
    assert client.get(url).status_code == 200
    assert client.get(url.replace("/signal/", "/static/")).status_code == 404
    assert client.put(url).status_code == 405
    assert client.post(url, json={"approved": True}).json() == {"errors": []}
    deadline = time.monotonic() + 20
    while (job := client.post("/graphql", json={"query": JOB, "variables": {"id": job_id}}).json()["data"]["job"])[
        "status"
    ] != "SUCCEEDED":
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
