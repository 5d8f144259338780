"""Messages over SMTP, to a real server."""

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
import trustme

from onward.findings import State
from onward.handlers.base import HandlerError, Permanent
from onward.mail.message import compose, mailbox, sender_of
from onward.mail.smtp import MailUnavailable, SmtpMailer
from tests.integration.handlers.hostile import HOSTILE

WAIT_TIMEOUT_S = 30.0
SENDER = "Onward <no-reply@localhost>"
Open = Callable[..., SmtpMailer]


def a_message(
    recipient: str = "ada@example.org", id: str = "job_1", text: str = "Hello\n", sender: str = SENDER
) -> EmailMessage:
    given: dict[str, Any] = {"id": id, "sender": sender_of(sender), "recipient": mailbox(recipient), "text": text}
    return compose(**given, subject="Welcome", html="<p>Hello\n")


def ids(office: Any) -> list[str]:
    return [BytesParser(policy=policy.default).parsebytes(one.content)["Message-ID"] for one in office.taken]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def mailer_to(office: Any) -> AsyncIterator[Open]:
    opened = []

    def open_one(**options: Any) -> SmtpMailer:
        given: dict[str, Any] = {"sender": SENDER, "host": "127.0.0.1", "port": office.port}
        given["timeout_s"] = WAIT_TIMEOUT_S
        opened.append(SmtpMailer(**given | options))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_message_arrives_unchanged(office: Any, mailer_to: Open) -> None:
    await office.open()
    message = a_message(text="Grüße\n.\nFrom here\n..\n")
    await mailer_to().send(message)
    (taken,) = office.taken
    assert (taken.mail_from, taken.rcpt_tos) == ("no-reply@localhost", ["ada@example.org"])
    read = BytesParser(policy=policy.default).parsebytes(taken.content)
    assert read.items() == BytesParser(policy=policy.default).parsebytes(message.as_bytes()).items()
    assert isinstance(read, EmailMessage)
    (plain, _) = read.iter_parts()
    assert plain.get_payload(decode=True) == "Grüße\r\n.\r\nFrom here\r\n..\r\n".encode()


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text_reaches_no_other_recipient(office: Any, mailer_to: Open, name: str) -> None:
    await office.open()
    mailer = mailer_to()
    await mailer.send(a_message(text=f"Hello {name}\n"))
    await mailer.send(a_message(id="job_2"))
    assert [taken.rcpt_tos for taken in office.taken] == [["ada@example.org"]] * 2
    assert ids(office) == ["<job_1@localhost>", "<job_2@localhost>"]
    assert len(office.desks) == 1


async def test_several_messages_share_one_connection(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to()
    for number in range(5):
        await mailer.send(a_message(id=f"job_{number}"))
    assert len(office.taken) == 5
    assert len(office.desks) == 1


async def test_messages_at_the_same_moment_share_a_few_connections(office: Any, mailer_to: Open) -> None:
    await office.open()
    office.pace_s = 0.005
    mailer = mailer_to(connections=3)
    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(mailer.send(a_message(id=f"job_{number}")))
    assert sorted(ids(office)) == sorted(f"<job_{number}@localhost>" for number in range(30))
    assert len(office.desks) == 3


async def test_a_connection_dropped_between_messages_loses_none(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to()
    await mailer.send(a_message())
    office.desks[0].transport.abort()
    await mailer.send(a_message(id="job_2"))
    assert len(office.taken) == 2
    assert len(office.desks) == 2


async def test_a_server_that_closes_its_connection_loses_no_message(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to()
    await mailer.send(a_message())
    office.noop = "421 closing"
    await mailer.send(a_message(id="job_2"))
    assert len(office.taken) == 2


async def test_a_server_restarted_between_messages_loses_none(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to()
    await mailer.send(a_message())
    await office.close()
    await office.open()
    await mailer.send(a_message(id="job_2"))
    assert ids(office) == ["<job_1@localhost>", "<job_2@localhost>"]


@pytest.mark.parametrize("where", ["ada@example.org", "DATA"])
@pytest.mark.parametrize(
    ("answer", "raised"),
    [("450 later at /var/spool", MailUnavailable), ("452 full", MailUnavailable), ("550 no at /var", Permanent)],
)
async def test_a_refused_message_is_retried_after_4xx_and_never_after_5xx(
    office: Any, mailer_to: Open, where: str, answer: str, raised: type[HandlerError]
) -> None:
    await office.open()
    office.answers[where] = [answer]
    mailer = mailer_to()
    with pytest.raises(raised) as failed:
        await mailer.send(a_message())
    assert type(failed.value) is raised
    assert "var" not in str(failed.value)  # the server's words are not for the caller
    await mailer.send(a_message())
    assert ids(office) == ["<job_1@localhost>"]
    assert len(office.desks) == 1  # a refusal is no reason to hang up


async def test_a_message_cut_off_in_the_middle_is_retried_with_the_same_id(office: Any, mailer_to: Open) -> None:
    await office.open()
    office.cut_in_data = 1
    mailer = mailer_to()
    with pytest.raises(MailUnavailable):
        await mailer.send(a_message())
    assert office.taken == []
    await mailer.send(a_message())
    assert ids(office) == ["<job_1@localhost>"]


async def test_a_server_that_is_down_is_reported_without_its_address(office: Any, mailer_to: Open) -> None:
    await office.open()
    await office.close()
    with pytest.raises(MailUnavailable) as failed:
        await mailer_to().send(a_message())
    assert str(office.port) not in str(failed.value)
    assert "127" not in str(failed.value)


async def test_a_server_that_never_speaks_is_given_up_in_time(mailer_to: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mailer = mailer_to(port=silent.getsockname()[1], timeout_s=0.1)
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            with pytest.raises(MailUnavailable):
                await mailer.send(a_message())


async def test_a_server_slow_inside_a_message_is_given_up_and_its_late_answer_ignored(
    office: Any, mailer_to: Open
) -> None:
    await office.open()
    mailer = mailer_to(timeout_s=0.1)
    office.pace_s = 0.3
    with pytest.raises(MailUnavailable):
        await mailer.send(a_message())
    office.pace_s = 0
    await mailer.send(a_message(id="job_2"))
    assert ids(office)[-1] == "<job_2@localhost>"
    assert len(office.desks) == 2


async def test_a_cancelled_message_closes_its_connection(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to(connections=1)
    office.pace_s = WAIT_TIMEOUT_S
    sending = asyncio.create_task(mailer.send(a_message()))
    await until(lambda: bool(office.desks and office.desks[0].envelope and office.desks[0].envelope.content))
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await until(lambda: not office.open_desks)
    office.pace_s = 0
    await mailer.send(a_message(id="job_2"))
    assert ids(office) == ["<job_2@localhost>"]


async def test_starttls_comes_before_login_and_message(
    office: Any, mailer_to: Open, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    await office.open(tls_context=server_tls, require_starttls=True, auth_required=True)
    mailer = mailer_to(tls="starttls", username="onward", password="secret", tls_context=client_tls)
    await mailer.send(a_message())
    await mailer.send(a_message(id="job_2"))
    assert len(office.taken) == 2
    assert len(office.desks) == 1
    assert office.desks[0].session.authenticated


async def test_tls_from_the_first_byte(
    office: Any, mailer_to: Open, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    await office.open(ssl=server_tls)
    await mailer_to(tls="tls", tls_context=client_tls).send(a_message())
    assert len(office.taken) == 1


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_server_with_an_untrusted_certificate_gets_no_message(
    office: Any, mailer_to: Open, server_tls: ssl.SSLContext, tls: str
) -> None:
    await office.open(**({"ssl": server_tls} if tls == "tls" else {"tls_context": server_tls}))
    with pytest.raises(MailUnavailable):
        await mailer_to(tls=tls).send(a_message())
    assert office.taken == []


async def test_without_the_configured_starttls_nothing_is_sent_in_clear(office: Any, mailer_to: Open) -> None:
    await office.open()
    with pytest.raises(MailUnavailable):
        await mailer_to(tls="starttls", username="onward", password="secret").send(a_message())
    assert office.taken == []


async def test_a_refused_login_is_permanent_and_reveals_no_credentials(
    office: Any, mailer_to: Open, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    await office.open(tls_context=server_tls, require_starttls=True, auth_required=True)
    mailer = mailer_to(tls="starttls", username="onward", password="wrong", tls_context=client_tls)
    found = await mailer.check()
    assert found.state is State.WRONG
    assert "refuses the login" in found.message
    assert "wrong" not in found.message
    with pytest.raises(Permanent, match="login") as failed:
        await mailer.send(a_message())
    assert "wrong" not in str(failed.value)


async def test_check_reports_whether_the_server_accepts_the_login(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to()
    assert (await mailer.check()).state is State.OK
    await office.close()
    assert (await mailer.check()).state is State.WRONG


async def test_an_idle_connection_is_closed(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to(idle_s=0.05)
    await mailer.send(a_message())
    assert len(office.open_desks) == 1
    await until(lambda: not office.open_desks)
    await mailer.send(a_message(id="job_2"))
    assert len(office.taken) == 2


async def test_closing_leaves_none_open_even_one_in_use(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to()
    await mailer.send(a_message())
    office.pace_s = 0.1
    sending = asyncio.create_task(mailer.send(a_message(id="job_2")))
    await until(lambda: bool(office.desks[0].envelope and office.desks[0].envelope.rcpt_tos))
    await mailer.close()
    await sending
    await until(lambda: not office.open_desks)
    assert len(office.taken) == 2
    await mailer.close()


async def test_each_event_loop_has_its_own_connections(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to()
    await mailer.send(a_message())

    async def elsewhere() -> None:
        await mailer.send(a_message(id="job_2"))
        await mailer.close()

    await asyncio.to_thread(asyncio.run, elsewhere())
    await until(lambda: not office.open_desks)  # closing there let go of ours too
    await mailer.send(a_message(id="job_3"))
    assert ids(office) == [f"<job_{number}@localhost>" for number in (1, 2, 3)]
    assert len(office.desks) == 3


async def test_the_end_of_a_loop_closes_its_connections(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to(idle_s=60)
    await asyncio.to_thread(asyncio.run, mailer.send(a_message()))
    with pytest.warns(ResourceWarning):  # noqa: PT031 - it comes whenever the old loop's connection is freed
        await mailer.send(a_message(id="job_2"))
        gc.collect()
    assert len(office.taken) == 2


async def test_an_international_domain_goes_out_in_ascii(office: Any, mailer_to: Open) -> None:
    await office.open(enable_SMTPUTF8=False)
    await mailer_to().send(a_message("ada@münchen.de"))
    assert office.taken[0].rcpt_tos == ["ada@xn--mnchen-3ya.de"]


async def test_an_international_name_goes_to_servers_that_support_it(office: Any, mailer_to: Open) -> None:
    await office.open()
    await mailer_to().send(a_message("jürgen@münchen.de"))
    (taken,) = office.taken
    assert (taken.rcpt_tos, taken.smtp_utf8) == (["jürgen@xn--mnchen-3ya.de"], True)


async def test_an_international_name_is_refused_for_good_elsewhere(office: Any, mailer_to: Open) -> None:
    await office.open(enable_SMTPUTF8=False)
    with pytest.raises(Permanent, match="international"):
        await mailer_to().send(a_message("jürgen@example.org"))
    assert office.taken == []


async def test_a_sender_with_an_international_name_sends_to_ascii_addresses(office: Any, mailer_to: Open) -> None:
    await office.open()
    mailer = mailer_to(sender="Größe <größe@münchen.de>")
    assert (await mailer.check()).state is State.OK
    await mailer.send(a_message(sender="Größe <größe@münchen.de>"))
    (taken,) = office.taken
    assert (taken.mail_from, taken.smtp_utf8) == ("größe@xn--mnchen-3ya.de", True)
    assert "From: Größe <größe@xn--mnchen-3ya.de>".encode() in taken.content


async def test_check_says_that_the_server_does_not_support_the_senders_address(office: Any, mailer_to: Open) -> None:
    await office.open(enable_SMTPUTF8=False)
    found = await mailer_to(sender="größe@example.org").check()
    assert (found.state, "email.sender" in found.message) == (State.WRONG, True)
    with pytest.raises(Permanent, match="international"):
        await mailer_to().send(a_message(sender="größe@example.org"))


async def test_a_message_for_several_is_refused_for_good(office: Any, mailer_to: Open) -> None:
    await office.open()
    message = EmailMessage()
    message["From"], message["To"] = "a@x", "b@x, c@x"
    with pytest.raises(Permanent):
        await mailer_to().send(message)
    assert office.desks == []


async def test_eight_bit_bodies_pass_a_seven_bit_server(office: Any, mailer_to: Open) -> None:
    await office.open()
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@x", "b@x", "Grüße"
    message.set_content("Grüße\n", cte="8bit")
    await mailer_to().send(message)
    assert office.taken[0].content.isascii()
