"""The checks and the limits that HTTP, event streams and WebSockets share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from onward.api.addresses import Addresses
from onward.api.base import HttpError
from onward.api.connection_limiter import ConnectionLimiter
from onward.api.fair_scheduler import FairScheduler
from onward.api.headers import bearer, joined
from onward.api.origins import Hosts, Origins
from onward.api.rates import Rates
from onward.api.session import SESSION_ENDED, Session
from onward.api.viewers import CustomViewers, with_payload, without_cookies
from onward.api.ws_messages import token_in
from onward.graphql.base import BadRequest, NotAuthenticated
from onward.graphql.execution.operations import Operations
from onward.graphql.viewer import Viewer

Authenticate = Callable[[str | None], Viewer]
"""The viewer of a bearer token; the argument is None without one. Raises NotAuthenticated, also for a wrong token."""
CROSS_SITE = "This web page may not call here."


@dataclass(frozen=True, slots=True)
class RequestGate:
    """Judges each request before its document is looked at."""

    operations: Operations
    origins: Origins
    hosts: Hosts
    identify: Authenticate | CustomViewers
    addresses: Addresses = field(default_factory=Addresses)
    rates: Rates = field(default_factory=lambda: Rates(0))
    connection_limiter: ConnectionLimiter = field(default_factory=lambda: ConnectionLimiter(0, 0))
    scheduler: FairScheduler = field(default_factory=FairScheduler)

    @property
    def asks(self) -> bool:
        """True if a function of the project identifies callers, by the whole connection."""
        return isinstance(self.identify, CustomViewers)

    async def close(self) -> None:
        """End the threads of a project's function and of documents. May be called twice, and used again."""
        if isinstance(self.identify, CustomViewers):
            self.identify.close()
        await self.operations.close()

    def authenticate(self, token: str | None, address: str) -> Viewer:
        """Identify the caller by a token and count the request; a wrong token counts for its address.

        For gates that do not ask a function. Raises NotAuthenticated and TooManyRequests.
        """
        if TYPE_CHECKING:  # every request comes through here
            assert not isinstance(self.identify, CustomViewers)
        try:
            viewer = self.identify(token)
        except NotAuthenticated:
            self.rates.count(address, None)
            raise
        self.rates.count(address, viewer.subject)
        return viewer

    async def viewer_of(self, connection: HTTPConnection, connection_init: Mapping[str, Any] | None = None) -> Viewer:
        """Identify the caller of any connection and count the request. Without a token or session it is nobody.

        A WebSocket comes with the payload of its connection_init. Raises NotAuthenticated, TooManyRequests and other
        HttpErrors; CROSS_SITE for a web page that may not call, since a browser sends cookies along with its requests.
        """
        headers = connection.scope["headers"]
        address = self.addresses.of(connection.client, joined(headers, b"x-forwarded-for"))
        if not self.origins.allows(joined(headers, b"origin"), joined(headers, b"host")):
            raise HttpError(403, CROSS_SITE, "CROSS_SITE")
        if not isinstance(self.identify, CustomViewers):
            is_socket = connection.scope["type"] == "websocket"
            return self.authenticate(
                token_in(connection_init or {}) if is_socket else bearer(joined(headers, b"authorization")), address
            )
        # The project's function does not work for a caller who is answered no more.
        check = partial(self.rates.check, address, None)
        check()
        try:
            viewer = await _viewer_by(self.identify, self._seen(connection, connection_init), check)
        except BadRequest:  # also where the function fails, as by a strange cookie: it has worked for that
            self.rates.count(address, None)
            raise
        self.rates.count(address, viewer.subject)
        return viewer

    def session(
        self, viewer: Viewer, connection: HTTPConnection, connection_init: Mapping[str, Any] | None = None
    ) -> Session:
        """The viewer for as long as an event stream or a WebSocket is open."""
        identify = self.identify
        if not isinstance(identify, CustomViewers):
            return Session(viewer)
        asked = self._seen(connection, connection_init)
        return Session(viewer, lambda: identify(asked), identify.recheck_s)

    def _seen(self, connection: HTTPConnection, connection_init: Mapping[str, Any] | None) -> HTTPConnection:
        """The connection as a project's function sees it."""
        if connection.scope["type"] == "websocket":
            headers = connection.scope["headers"]
            if not self.origins.allows_cookies(joined(headers, b"origin"), joined(headers, b"host")):
                connection = without_cookies(connection)
        return with_payload(connection, connection_init)


async def _viewer_by(identify: CustomViewers, connection: HTTPConnection, check: Callable[[], object]) -> Viewer:
    """The viewer that a project's function returns. Raises NotAuthenticated for one whose session has ended, too."""
    viewer = await identify(connection, check)
    if Session(viewer).is_over():
        raise NotAuthenticated(SESSION_ENDED)
    return viewer
