"""Messages in Redis: their order, as the workers will take them."""

from typing import Any, cast

import dramatiq
import pytest

from backends.base import Delivery, Role
from backends.dramatiq import QUEUE, Dramatiq

pytestmark = pytest.mark.anyio


def in_order(backend: Dramatiq) -> list[str]:
    """The jobs of the messages that wait, the next one first."""
    queue = f"{backend.broker.namespace}:{QUEUE}"
    ids = backend.broker.client.lrange(queue, 0, -1)
    messages: list[Any] = [backend.broker.client.hget(f"{queue}.msgs", one) for one in ids]
    return [dramatiq.Message.decode(data).args[0] for data in messages]


async def test_what_ran_before_goes_before_what_has_not_begun(redis_url: str, namespace: str) -> None:
    """Its process has died or stopped, and it would wait for a whole backlog a second time."""
    backend = Dramatiq(cast("Any", None), url=redis_url, namespace=namespace)
    await backend.start(Role.ACCEPT)
    try:
        for batch in (["a", "b"], ["c", "d again", "e again"]):
            wanted = [Delivery(f"job_{name[0]}", "h", resumes=name.endswith("again")) for name in batch]
            await backend.deliver(wanted, after_response=lambda *_: None)
        assert in_order(backend) == ["job_d", "job_e", "job_a", "job_b", "job_c"]
    finally:
        await backend.drain(1.0)
        backend.broker.client.connection_pool.disconnect()
