"""Addresses and messages: a stranger's text never becomes a header."""

from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward.handlers.base import Permanent
from onward.mail.message import compose, envelope, mailbox, sender_of, visible
from tests.integration.handlers.hostile import HOSTILE, REFUSED

HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
ONWARD = sender_of("Onward <no-reply@localhost>")


def parsed(message: EmailMessage) -> EmailMessage:
    read = BytesParser(policy=policy.default).parsebytes(message.as_bytes())
    assert isinstance(read, EmailMessage)
    return read


def a_message(**changed: Any) -> EmailMessage:
    parts: dict[str, Any] = {"id": "job_1", "sender": ONWARD, "recipient": mailbox("ada@example.org")}
    return compose(**parts | {"subject": "Welcome", "text": "Hello", "html": "<p>Hello"} | changed)


@pytest.mark.parametrize("text", REFUSED)
def test_a_text_that_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        mailbox(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.org", "ada@example.org"),
        ("Ada@Example.ORG", "Ada@example.org"),
        ("root@localhost", "root@localhost"),
        ("a.b+c_d-e='{|}@x.y", "a.b+c_d-e='{|}@x.y"),
        ("ada@münchen.de", "ada@xn--mnchen-3ya.de"),
        ("jürgen@straße.de", "jürgen@xn--strae-oqa.de"),
        ("ju\u0308rgen@x.de", "jürgen@x.de"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
    ],
)
def test_an_address_keeps_its_name_and_gets_an_ascii_domain(text: str, address: str) -> None:
    assert mailbox(text).addr_spec == address


@given(st.text(max_size=30))
def test_an_accepted_address_is_one_visible_word(text: str) -> None:
    try:
        address = mailbox(text).addr_spec
    except ValueError:
        return
    assert address.isprintable()
    assert not set(address) & set(' ,;:<>()[]"\\')


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("Onward <no-reply@localhost>", "Onward", "no-reply@localhost"),
        ('"Onward, Inc." <a@x.de>', "Onward, Inc.", "a@x.de"),
        ("Größe <a@größe.de>", "Größe", "a@xn--gre-6ka8i.de"),
        ("a@x.de", "", "a@x.de"),
        ("<a@x.de>", "", "a@x.de"),
    ],
)
def test_a_sender_is_a_name_and_an_address(text: str, name: str, address: str) -> None:
    sender = sender_of(text)
    assert (sender.display_name, sender.addr_spec) == (name, address)
    read = parsed(a_message(sender=sender))["From"].addresses
    assert [(one.display_name, one.addr_spec) for one in read] == [(name, address)]


@pytest.mark.parametrize(
    "text", ["", "Onward", "A <a@x>, B <b@x>", "A\nBcc: x <a@x>", "=?utf-8?q?a=0ABcc:e@x?= <a@x>", "A <a@x> B"]
)
def test_an_invalid_sender_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|header"):
        sender_of(text)


def test_a_message_has_its_headers_and_both_parts() -> None:
    message = parsed(a_message(text="Grüße\n", html="<p>Grüße</p>\n"))
    assert message.keys() == HEADERS
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    plain, html = message.iter_parts()
    assert (plain.get_content(), html.get_content()) == ("Grüße\r\n", "<p>Grüße</p>\r\n")
    assert message["Date"].datetime.tzinfo is not None
    assert not message.defects


def test_the_message_id_is_made_of_the_id_and_the_senders_domain() -> None:
    sender = sender_of("Größe <a@größe.de>")
    assert {a_message(sender=sender)["Message-ID"] for _ in range(3)} == {"<job_1@xn--gre-6ka8i.de>"}
    assert a_message(id="job_" + "0" * 60)["Message-ID"] == f"<job_{'0' * 60}@localhost>"


@pytest.mark.parametrize("id", ["", "a b", "a\nb", "a@b", "a>b", "é", "a" * 65])
def test_an_id_that_could_leave_its_header_is_refused(id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        a_message(id=id)


@pytest.mark.parametrize("subject", ["a\nBcc: e@x", "a\r", "=?utf-8?q?a=0ABcc:e@x?=", "a\u2028b", "\0"])
def test_a_subject_that_could_leave_its_header_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="header"):
        a_message(subject=subject)


def test_a_recipient_is_checked_again_where_it_becomes_a_header() -> None:
    with pytest.raises(ValueError, match="address"):
        a_message(recipient=Address(username="a, b", domain="x"))


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_stays_in_the_body(words: str) -> None:
    message = parsed(a_message(text=f"Hello {words}\n", html="<p>Hello"))
    assert message.keys() == HEADERS
    assert len(list(message.walk())) == 3
    plain, _ = message.iter_parts()
    assert plain.get_content().splitlines() == f"Hello {words}\n".splitlines()


def test_a_message_is_seven_bit_unless_its_address_is_not() -> None:
    data = a_message(text="Grüße " * 500).as_bytes()
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 78
    wide = a_message(recipient=mailbox("jürgen@x.de")).as_bytes()
    assert b"To: j\xc3\xbcrgen@x.de\r\n" in wide
    wide = a_message(sender=sender_of("jürgen@x.de")).as_bytes()
    assert b"From: j\xc3\xbcrgen@x.de\r\n" in wide


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"From": "a@x"},
        {"To": "a@x"},
        {"From": "a@x, b@x", "To": "c@x"},
        {"From": "a@x", "To": "b@x, c@x"},
        {"From": "a@x", "To": "b@x", "Cc": "c@x"},
        {"From": "a@x", "To": "b@x", "Bcc": "c@x"},
        {"From": "a@x", "To": "b\0@x"},
    ],
)
def test_an_envelope_has_one_sender_and_one_recipient(headers: dict[str, str]) -> None:
    message = EmailMessage()
    for name, value in headers.items():
        message[name] = value
    with pytest.raises(Permanent, match="exactly one"):
        envelope(message)


def test_visible_text_is_one_line_without_control_characters() -> None:
    assert visible(" Ada\r\nBcc:\t\x1b[2Jx\u202ey\u2028z ") == "Ada  Bcc:  [2Jxy z"
    assert (
        visible("\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f680")
        == "\u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f680"
    )
