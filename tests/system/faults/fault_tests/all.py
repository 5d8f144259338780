"""All fault tests, in the order in which an installation runs them."""

from tests.system.faults.fault_tests import (
    change,
    clocks,
    deploys,
    flows,
    handlers,
    kills,
    ledgers,
    mail,
    points,
    redis,
    watchers,
)
from tests.system.faults.fault_tests.base import FaultTest

FAULT_TESTS: tuple[FaultTest, ...] = (
    *kills.FAULT_TESTS,
    *watchers.FAULT_TESTS,
    *deploys.FAULT_TESTS,
    *redis.FAULT_TESTS,
    *ledgers.FAULT_TESTS,
    *handlers.FAULT_TESTS,
    *mail.FAULT_TESTS,
    *change.FAULT_TESTS,
    *clocks.FAULT_TESTS,
    *points.FAULT_TESTS,
    *flows.FAULT_TESTS,
)
