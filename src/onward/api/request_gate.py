"""The checks and the limits that HTTP, event streams and WebSockets share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from onward.api.addresses import Addresses
from onward.api.connection_limiter import ConnectionLimiter
from onward.api.fair_scheduler import FairScheduler
from onward.api.origins import Hosts, Origins
from onward.api.rates import Rates
from onward.graphql.base import NotAuthenticated
from onward.graphql.execution.operations import Operations
from onward.graphql.viewer import Viewer

Authenticate = Callable[[str | None], Viewer]
"""The viewer of a bearer token; the argument is None without one. Raises NotAuthenticated, also for a wrong token."""


@dataclass(frozen=True, slots=True)
class RequestGate:
    """Judges each request before its document is looked at."""

    operations: Operations
    origins: Origins
    hosts: Hosts
    identify: Authenticate
    addresses: Addresses = field(default_factory=Addresses)
    rates: Rates = field(default_factory=lambda: Rates(0))
    connection_limiter: ConnectionLimiter = field(default_factory=lambda: ConnectionLimiter(0, 0))
    scheduler: FairScheduler = field(default_factory=FairScheduler)

    def authenticate(self, token: str | None, address: str) -> Viewer:
        """Identify the caller and count the request; a wrong token counts for its address.

        Raises NotAuthenticated and TooManyRequests.
        """
        try:
            viewer = self.identify(token)
        except NotAuthenticated:
            self.rates.count(address, None)
            raise
        self.rates.count(address, viewer.id)
        return viewer
