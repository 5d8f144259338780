"""The conformance suite: `class TestMine(Conformance)` beside a fixture `rig`, as docs/adding-a-backend.md shows."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("testkit.laws")  # before they are imported: a law that fails shows its values

from testkit.laws.accepting import Accepting  # noqa: E402
from testkit.laws.cancelling import Cancelling  # noqa: E402
from testkit.laws.children import Children  # noqa: E402
from testkit.laws.deaths import Deaths  # noqa: E402
from testkit.laws.failures import Failures  # noqa: E402
from testkit.laws.gates import Gates  # noqa: E402
from testkit.laws.limits import Limits  # noqa: E402
from testkit.laws.manual_retries import ManualRetries  # noqa: E402
from testkit.laws.priorities import Priorities  # noqa: E402
from testkit.laws.stops import Stops  # noqa: E402
from testkit.laws.watching import Watching  # noqa: E402


@pytest.mark.anyio
class Conformance(
    Accepting, Failures, Limits, Children, Cancelling, ManualRetries, Watching, Priorities, Gates, Stops, Deaths
):
    """Every law, one a test, in the order in which to read them."""
