"""Messages over SMTP."""

import asyncio
import socket
import ssl
import threading
from email import policy
from email.message import EmailMessage
from functools import partial
from typing import Literal

from aiosmtplib import SMTP, SMTPAuthenticationError, SMTPException, SMTPRecipientsRefused, SMTPResponseException

from onward.findings import Finding, State, in_one_line
from onward.handlers.base import HandlerError, Permanent
from onward.mail.message import envelope, is_international, sender_of
from onward.mail.smtp_connections import Connections

REFUSALS = range(500, 600)
CHECK_TIMEOUT_S = 3.0


class MailUnavailable(HandlerError):
    """The mail server was not reached, or asked to try again later."""

    code = "MAIL_UNAVAILABLE"


class SmtpMailer:
    """Hands messages to an SMTP server, over connections that serve several of them."""

    def __init__(
        self,
        *,
        sender: str,
        host: str,
        port: int = 25,
        tls: Literal["none", "starttls", "tls"] = "none",
        username: str | None = None,
        password: str | None = None,
        timeout_s: float = 10.0,
        idle_s: float = 30.0,
        connections: int = 4,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        """Connect to nothing yet. `timeout_s` is for each answer. Raises ValueError where `sender` is not valid."""
        self.sender = sender_of(sender)
        self._client = partial(
            SMTP,
            hostname=host,
            port=port,
            username=username,
            password=password,
            use_tls=tls == "tls",
            start_tls=tls == "starttls",
            tls_context=tls_context,
            timeout=timeout_s,
            # Its default asks the resolver for a full name, which can take many seconds.
            local_hostname=socket.gethostname() or "localhost",
        )
        self._idle_s, self._limit = idle_s, connections
        # A connection belongs to the event loop that opened it, and a process may have several.
        self._of_loop: dict[asyncio.AbstractEventLoop, Connections] = {}
        self._guard = threading.Lock()

    async def send(self, message: EmailMessage) -> None:
        """Send the message. Raises `Permanent` for a 5xx, `MailUnavailable` for temporary failures."""
        sender, recipient = envelope(message)
        wide = is_international(sender, recipient)
        data = message.as_bytes(policy=(policy.SMTPUTF8 if wide else policy.SMTP).clone(cte_type="7bit"))
        try:
            async with self._connections().one() as smtp:
                if wide and not smtp.supports_extension("smtputf8"):
                    raise Permanent("The mail server does not support international addresses.", "MAIL_REFUSED")
                options = ["SMTPUTF8"] if wide else []
                await smtp.sendmail(sender.addr_spec, [recipient.addr_spec], data, mail_options=options)
        except SMTPRecipientsRefused as error:
            raise _error_of(error.recipients[0].code) from error
        except SMTPResponseException as error:
            raise _error_of(error.code) from error
        except (SMTPException, OSError) as error:
            raise MailUnavailable("The mail server could not be reached.") from error

    async def check(self) -> Finding:
        """Check that the server answers and accepts the login, within a few seconds."""
        where = f"{self._client.keywords['hostname']}:{self._client.keywords['port']}"
        try:
            async with self._client(timeout=CHECK_TIMEOUT_S) as smtp:
                await smtp.noop()
                if is_international(self.sender) and not smtp.supports_extension("smtputf8"):
                    fix = "set email.sender to an address in ASCII, or use a server with SMTPUTF8"
                    return Finding("email", State.WRONG, f"{where} does not support the address of email.sender", fix)
        except SMTPAuthenticationError as error:
            fix = "correct email.smtp.username and email.smtp.password"
            return Finding("email", State.WRONG, f"{where} refuses the login: {error.message}", fix)
        except (SMTPException, OSError) as error:
            fix = "correct email.smtp.host, port and tls, or start the server"
            return Finding("email", State.WRONG, f"{where} cannot be used: {in_one_line(error)}", fix)
        return Finding("email", State.OK, f"{where} answers")

    async def close(self) -> None:
        """Close all connections; one that is sending closes after its message."""
        here = asyncio.get_running_loop()
        with self._guard:
            all_of_them, self._of_loop = self._of_loop, {}
        for loop, connections in all_of_them.items():
            if loop is here:
                await connections.close()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(connections.drop)

    def _connections(self) -> Connections:
        loop = asyncio.get_running_loop()
        with self._guard:
            if loop not in self._of_loop:
                self._of_loop = {old: kept for old, kept in self._of_loop.items() if not old.is_closed()}
                self._of_loop[loop] = Connections(self._connect, limit=self._limit, idle_s=self._idle_s)
            return self._of_loop[loop]

    async def _connect(self) -> SMTP:
        smtp = self._client()
        try:
            await smtp.connect()
            if smtp.is_ehlo_or_helo_needed:
                await smtp.ehlo()
        except SMTPResponseException as error:
            raise _error_of(error.code, "The mail server refused the connection or the login.") from error
        return smtp


def _error_of(code: int, refused: str = "The mail server refused the message.") -> HandlerError:
    # Neutral words, because a server's answer may hold addresses and names of machines.
    if code in REFUSALS:
        return Permanent(refused, "MAIL_REFUSED")
    return MailUnavailable("The mail server asks to try again later.")
