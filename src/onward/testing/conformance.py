"""The conformance suite: `class TestMine(Conformance)` beside a fixture `backend_fixture`.

docs/adding-a-backend.md shows a whole example.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "onward.testing.contract"
)  # before they are imported: a failing test then shows its values

from onward.testing.contract.accepting import Accepting  # noqa: E402
from onward.testing.contract.batches import Batches  # noqa: E402
from onward.testing.contract.cancelling import Cancelling  # noqa: E402
from onward.testing.contract.children import Children  # noqa: E402
from onward.testing.contract.concurrency import Concurrency  # noqa: E402
from onward.testing.contract.crashes import Crashes  # noqa: E402
from onward.testing.contract.delivering import Delivering  # noqa: E402
from onward.testing.contract.ends import Ends  # noqa: E402
from onward.testing.contract.failures import Failures  # noqa: E402
from onward.testing.contract.history import History  # noqa: E402
from onward.testing.contract.key_limits import KeyLimits  # noqa: E402
from onward.testing.contract.lifespan import Lifespan  # noqa: E402
from onward.testing.contract.limits import Limits  # noqa: E402
from onward.testing.contract.log_lines import Logging  # noqa: E402
from onward.testing.contract.manual_retries import ManualRetries  # noqa: E402
from onward.testing.contract.output import Streaming  # noqa: E402
from onward.testing.contract.priorities import Priorities  # noqa: E402
from onward.testing.contract.queues import Queues  # noqa: E402
from onward.testing.contract.schedules import Schedules  # noqa: E402
from onward.testing.contract.stops import Stops  # noqa: E402
from onward.testing.contract.uniqueness import Uniqueness  # noqa: E402
from onward.testing.contract.waits import Waits  # noqa: E402
from onward.testing.contract.watching import Watching  # noqa: E402


@pytest.mark.anyio
class Conformance(
    Accepting,
    Delivering,
    Failures,
    Ends,
    History,
    Limits,
    Children,
    Batches,
    Cancelling,
    ManualRetries,
    Uniqueness,
    Waits,
    Watching,
    Streaming,
    Logging,
    Priorities,
    Queues,
    Concurrency,
    KeyLimits,
    Schedules,
    Lifespan,
    Stops,
    Crashes,
):
    """All contract tests, in reading order."""
