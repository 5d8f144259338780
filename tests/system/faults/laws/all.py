"""Every law, in the order in which a site goes through them."""

from tests.system.faults.laws import change, clocks, deploys, handlers, kills, ledgers, mail, points, redis
from tests.system.faults.laws.base import Law

LAWS: tuple[Law, ...] = (
    *kills.LAWS,
    *deploys.LAWS,
    *redis.LAWS,
    *ledgers.LAWS,
    *handlers.LAWS,
    *mail.LAWS,
    *change.LAWS,
    *clocks.LAWS,
    *points.LAWS,
)
