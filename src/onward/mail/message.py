"""E-mail messages in which no text from outside can become a header."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import idna

from onward.handlers.base import Permanent
from onward.text.normalization import nfc

# RFC 5322's atoms, and RFC 6531's wider ones. Quoted local parts are legal, unused, and a way in for trouble.
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u00a1-\U0010ffff]+"
LOCAL = re.compile(rf"{ATOM}(\.{ATOM})*")
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN = re.compile(rf"{LABEL}(\.{LABEL})*")
NAMED = re.compile(r"(?P<name>[^<>]*?)\s*<(?P<address>[^<>]+)>")
LOCAL_BYTES, ADDRESS_BYTES = 64, 254  # RFC 5321, 4.5.3.1
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def mailbox(text: str) -> Address:
    """Return exactly one address, its domain in ASCII. Raises ValueError for anything else.

    The standard library takes `a@x, b@x`, NUL and line breaks for an address, so it is not asked.
    """
    if len(text) > ADDRESS_BYTES:
        raise ValueError("is longer than an e-mail address may be")
    local, at, domain = nfc(text).rpartition("@")
    ascii_domain = _ascii(domain)
    if not (at and LOCAL.fullmatch(local) and DOMAIN.fullmatch(ascii_domain)):
        raise ValueError("is not one e-mail address")
    # An encoded word inside an address is decoded by email.headerregistry, line breaks and all.
    if "=?" in local or any(unicodedata.category(c)[0] in "CZ" for c in local):
        raise ValueError("is not one e-mail address")
    if len(local.encode()) > LOCAL_BYTES or len(f"{local}@{ascii_domain}".encode()) > ADDRESS_BYTES:
        raise ValueError("is longer than an e-mail address may be")
    return Address(username=local, domain=ascii_domain)


def sender_of(text: str) -> Address:
    """Return `Name <address>`, or an address alone. Raises ValueError for anything else."""
    match = NAMED.fullmatch(text.strip())
    if match is None:
        return mailbox(text.strip())
    name, address = match["name"].strip('" '), mailbox(match["address"])
    _check_header(name)
    return Address(display_name=name, username=address.username, domain=address.domain)


def is_international(*addresses: Address) -> bool:
    """True if only a server with SMTPUTF8 accepts a message with these addresses."""
    return not all(address.username.isascii() for address in addresses)


def compose(*, id: str, sender: Address, recipient: Address, subject: str, text: str, html: str) -> EmailMessage:
    """Compose a message as text and HTML, whose Message-ID depends on `id` and the sender alone.

    Text from outside belongs into `text` and `html` only. Raises ValueError for ids, subjects and addresses that
    could break out of their header.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id):
        raise ValueError("a message's id must be made of letters, digits, underscores and hyphens")
    _check_header(subject)
    one = mailbox(recipient.addr_spec)
    message = EmailMessage(policy=policy.SMTPUTF8 if is_international(sender, one) else policy.SMTP)
    message["From"] = sender
    message["To"] = one
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    # Quoted-printable passes through servers that take 7 bits only, so a message is the same bytes everywhere.
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message


def envelope(message: EmailMessage) -> tuple[Address, Address]:
    """Return the sender and the one recipient. Raises `Permanent` for a message with none or several of either.

    One message has one recipient, so that it has one outcome: accepted, refused, or to be retried.
    """
    senders, recipients = (
        [address for name in names for header in message.get_all(name, []) for address in header.addresses]
        for names in (("From",), ("To", "Cc", "Bcc"))
    )
    try:
        (sender,), (recipient,) = senders, recipients
        return mailbox(sender.addr_spec), mailbox(recipient.addr_spec)
    except ValueError as error:
        raise Permanent("The message does not have exactly one sender and one recipient.", "BAD_MESSAGE") from error


def visible(text: str) -> str:
    """Return the text on one line, without characters that drive a terminal or change the direction of text."""
    return "".join(_seen(text)).strip()


def _seen(text: str) -> Iterator[str]:
    for character in text:
        if character not in BIDI_CONTROLS:
            yield " " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character


def _ascii(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError("is not one e-mail address") from None


def _check_header(text: str) -> None:
    # Encoded words are decoded when a header is set, and the result is not checked: CPython 3.11.7, 3.12.1.
    if "=?" in text or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise ValueError("a header's text must hold neither control characters nor encoded words")
