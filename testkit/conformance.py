"""The conformance suite: `class TestMine(Conformance)` beside a fixture `rig`, as docs/adding-a-backend.md shows."""

from __future__ import annotations

import pytest

from testkit.laws.accepting import Accepting
from testkit.laws.cancelling import Cancelling
from testkit.laws.children import Children
from testkit.laws.deaths import Deaths
from testkit.laws.failures import Failures
from testkit.laws.limits import Limits
from testkit.laws.manual_retries import ManualRetries
from testkit.laws.stops import Stops
from testkit.laws.watching import Watching


@pytest.mark.anyio
class Conformance(Accepting, Failures, Limits, Children, Cancelling, ManualRetries, Watching, Stops, Deaths):
    """Every law, one a test, in the order in which to read them."""
