"""The conformance suite: `class TestMine(Conformance)` beside a fixture `rig`, as docs/adding-a-backend.md shows."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("onward.testing.contract")  # before they are imported: a law that fails shows its values

from onward.testing.contract.accepting import Accepting  # noqa: E402
from onward.testing.contract.cancelling import Cancelling  # noqa: E402
from onward.testing.contract.children import Children  # noqa: E402
from onward.testing.contract.deaths import Deaths  # noqa: E402
from onward.testing.contract.failures import Failures  # noqa: E402
from onward.testing.contract.gates import Gates  # noqa: E402
from onward.testing.contract.limits import Limits  # noqa: E402
from onward.testing.contract.manual_retries import ManualRetries  # noqa: E402
from onward.testing.contract.priorities import Priorities  # noqa: E402
from onward.testing.contract.stops import Stops  # noqa: E402
from onward.testing.contract.watching import Watching  # noqa: E402


@pytest.mark.anyio
class Conformance(
    Accepting, Failures, Limits, Children, Cancelling, ManualRetries, Watching, Priorities, Gates, Stops, Deaths
):
    """Every law, one a test, in the order in which to read them."""
