"""What every way to the schema shares: who may come in, how often, and what is run for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from onward.api.addresses import Addresses
from onward.api.connection_limiter import ConnectionLimiter
from onward.api.fair_scheduler import FairScheduler
from onward.api.origins import Origins
from onward.api.rates import Rates
from onward.graphql.base import NotAuthenticated
from onward.graphql.context import Services, Viewer
from onward.graphql.execution.operations import Operations

Identify = Callable[[str | None], Viewer]
"""By bearer token, None where there is none. Raises NotAuthenticated, also for a token that is none of ours."""


@dataclass(frozen=True, slots=True)
class RequestGate:
    services: Services
    operations: Operations
    origins: Origins
    identify: Identify
    addresses: Addresses = field(default_factory=Addresses)
    rates: Rates = field(default_factory=lambda: Rates(0))
    connection_limiter: ConnectionLimiter = field(default_factory=lambda: ConnectionLimiter(0, 0))
    scheduler: FairScheduler = field(default_factory=FairScheduler)

    def authenticate(self, token: str | None, address: str) -> Viewer:
        """Who asks; it is counted, a wrong token for its address. Raises NotAuthenticated and TooManyRequests."""
        try:
            viewer = self.identify(token)
        except NotAuthenticated:
            self.rates.count(address, None)
            raise
        self.rates.count(address, viewer.id)
        return viewer


def open_to_all(_token: str | None) -> Viewer:
    """Everybody is the one user of their own machine, and may do everything."""
    return Viewer(id=None, roles=("admin",))
