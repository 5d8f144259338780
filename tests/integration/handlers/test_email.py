"""`email.welcome`, into files."""

import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pytest

from handlers.email import templates, welcome
from onward.findings import State
from onward.handlers.base import InvalidParameters
from onward.mail.mailer import FileMailer
from tests.integration.handlers.hostile import HOSTILE, REFUSED

Run = Callable[..., Awaitable[list[Any]]]


def read(path: Path) -> EmailMessage:
    message = BytesParser(policy=policy.default).parsebytes(path.read_bytes())
    assert isinstance(message, EmailMessage)
    return message


def bodies(message: EmailMessage) -> tuple[str, str]:
    plain, html = message.iter_parts()
    assert isinstance(plain, EmailMessage)
    assert isinstance(html, EmailMessage)
    return plain.get_content().replace("\r\n", "\n"), html.get_content().replace("\r\n", "\n")


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_policy_is_eight_attempts_of_thirty_seconds() -> None:
    assert (welcome.retry.max_attempts, welcome.timeout) == (8, timedelta(seconds=30))


async def test_a_registered_user_gets_a_message_with_her_name(run: Run, job: Any, tmp_path: Path) -> None:
    await run(welcome, job, email="ada@example.org", username="Ada")
    message = read(tmp_path / "mail" / "job_1.eml")
    assert (message["To"], message["From"]) == ("ada@example.org", "Onward <no-reply@localhost>")
    assert message["Message-ID"] == "<job_1@localhost>"
    plain, html = bodies(message)
    assert plain.startswith("Hello Ada,\n")
    assert "<h1" in html
    assert "Hello Ada," in Tags(html).text


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_stays_text(run: Run, job: Any, tmp_path: Path, name: str) -> None:
    await run(welcome, job, email="ada@example.org", username="Ada")
    harmless = read(tmp_path / "mail" / "job_1.eml")
    if len(name) > 200:
        with pytest.raises(InvalidParameters):
            await run(welcome, job, email="ada@example.org", username=name)
        return
    await run(welcome, job, email="ada@example.org", username=name)
    message = read(tmp_path / "mail" / "job_1.eml")
    assert message.keys() == harmless.keys()
    assert [one.addr_spec for one in message["To"].addresses] == ["ada@example.org"]
    plain, html = bodies(message)
    assert Tags(html).seen == Tags(bodies(harmless)[1]).seen
    assert "49" not in plain + html
    assert not any(ord(c) < 32 and c != "\n" for c in plain + html)
    assert len(plain.splitlines()) == 5


@pytest.mark.parametrize("email", REFUSED)
async def test_a_hostile_address_is_refused_when_it_is_dispatched(email: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        welcome.bind({"email": email, "username": "Ada"})
    assert refused.value.errors[0][0] == "email"


async def test_a_repeated_message_replaces_the_first_one(run: Run, job: Any, tmp_path: Path) -> None:
    for _ in range(3):
        await run(welcome, job, email="ada@example.org", username="Ada")
    assert [path.name for path in (tmp_path / "mail").iterdir()] == ["job_1.eml"]


async def test_no_reader_sees_half_a_message(run: Run, job: Any, tmp_path: Path) -> None:
    await run(welcome, job, email="ada@example.org", username="Ada")
    before = (tmp_path / "mail" / "job_1.eml").stat().st_ino
    await run(welcome, job, email="ada@example.org", username="Ada")
    after = (tmp_path / "mail" / "job_1.eml").stat().st_ino
    assert before != after  # another file took its name; the first was never written to again


async def test_a_message_that_cannot_be_put_in_place_leaves_nothing_behind(run: Run, job: Any, tmp_path: Path) -> None:
    in_the_way = tmp_path / "mail" / "job_1.eml"
    in_the_way.mkdir(parents=True)
    with pytest.raises(OSError, match=r"job_1\.eml"):
        await run(welcome, job, email="ada@example.org", username="Ada")
    assert list((tmp_path / "mail").iterdir()) == [in_the_way]


@pytest.mark.parametrize("id", ["<../../x@y>", "<a/b@y>", "", "<.@y>", "no brackets", "<" + "a" * 300 + "@y>"])
async def test_a_foreign_message_id_cannot_leave_the_directory(tmp_path: Path, id: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "a@x", "b@x"
    if id:
        message["Message-ID"] = id
    mailer = FileMailer(tmp_path / "mail", "a@x")
    await mailer.send(message)
    await mailer.send(message)
    (only,) = (tmp_path / "mail").iterdir()
    assert only.suffix == ".eml"
    assert len(only.stem) == 64


async def test_check_reports_whether_messages_can_be_written(tmp_path: Path) -> None:
    """The check creates nothing, not even the folder."""
    assert (await FileMailer(tmp_path / "mail", "a@x").check()).state is State.OK
    assert not (tmp_path / "mail").exists()
    (tmp_path / "file").touch()
    assert (await FileMailer(tmp_path / "file", "a@x").check()).state is State.WRONG


async def test_loading_the_templates_does_not_block_the_event_loop(
    run: Run, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_in = []

    def loader(*given: Any) -> jinja2.BaseLoader:
        loaded_in.append(threading.current_thread())
        return genuine(*given)

    genuine = jinja2.FileSystemLoader
    monkeypatch.setattr(jinja2, "FileSystemLoader", loader)
    templates.cache_clear()
    await run(welcome, job, email="ada@example.org", username="ada")
    assert len(loaded_in) == 1
    assert loaded_in[0] is not threading.main_thread()
