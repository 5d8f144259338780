"""The job that confirms an order."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

BOOKS = "{ books { id } }"
PLACE = "mutation ($book: ID!, $quantity: Int!) { placeOrder(book: $book, quantity: $quantity) { job } }"
JOB = "query ($id: ID!) { job(id: $id) { status handler attempts { number } } }"
JOBS = "{ jobs { nodes { id status } } }"
WAIT_S = 60.0
Ask = Callable[..., Any]


def place(ask: Ask, quantity: int = 1) -> Any:
    middlemarch = ask(BOOKS)["data"]["books"][0]["id"]
    return ask(PLACE, book=middlemarch, quantity=quantity)


def wait_for(ask: Ask, job: str, *statuses: str) -> Any:
    """Wait until the job has one of the statuses, and return it."""
    deadline = time.monotonic() + WAIT_S
    while (found := ask(JOB, id=job)["data"]["job"])["status"] not in statuses:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_a_job_belongs_to_the_buyer_alone(
    ask: Ask, ada: str, guest: httpx2.Client, new_user: Callable[[], str]
) -> None:
    job = place(ask)["data"]["placeOrder"]["job"]
    assert wait_for(ask, job, "SUCCEEDED")["handler"] == "orders.confirm"
    assert [one["id"] for one in ask(JOBS)["data"]["jobs"]["nodes"]] == [job]
    guest.cookies.clear()
    assert ask(JOB, id=job)["data"] == {"job": None}
    new_user()
    assert ask(JOB, id=job)["data"] == {"job": None}
    assert ask(JOBS)["data"]["jobs"]["nodes"] == []


def test_an_order_that_is_refused_leaves_no_job(ask: Ask, ada: str) -> None:
    assert "errors" in place(ask, quantity=1000)
    assert ask(JOBS)["data"]["jobs"]["nodes"] == []


def test_mail_that_cannot_leave_is_sent_later(
    ask: Ask, ada: str, mail: Path, letters: Callable[[str], list[str]]
) -> None:
    shutil.rmtree(mail, ignore_errors=True)
    mail.touch()  # no folder, so that no message can be written
    job = place(ask)["data"]["placeOrder"]["job"]
    wait_for(ask, job, "RETRYING")
    mail.unlink()
    assert len(wait_for(ask, job, "SUCCEEDED")["attempts"]) > 1
    assert len(letters(ada)) == 1


def test_the_console_shows_the_buyer_s_jobs(ask: Ask, ada: str, guest: httpx2.Client) -> None:
    page = guest.get("/jobs/", headers={"accept": "text/html"})
    assert page.status_code == 200
    job = place(ask)["data"]["placeOrder"]["job"]
    answer = guest.post("/jobs/graphql", json={"query": "{ jobs { nodes { id } } }"})  # as the page asks
    assert answer.json()["data"]["jobs"]["nodes"] == [{"id": job}]
