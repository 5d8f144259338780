"""Dramatiq messages that hold a job's id and nothing else."""

from __future__ import annotations

import re
from typing import Any

import dramatiq

from onward.backends.redis_queues import ACTORS

JOB_ID = re.compile(r"job_[0-9A-Za-z]{1,64}")


def message(queue_name: str, own: str, job_id: str) -> bytes:
    """Encode a message for a job; `own` is the message's id."""
    options = {"redis_message_id": own}
    written: dramatiq.Message[Any] = dramatiq.Message(queue_name, ACTORS[queue_name][0], (job_id,), {}, options, own)
    return written.encode()


def is_ours(message: Any) -> bool:
    """Return whether a decoded message was made by `message`: a job's id and no more."""
    return (
        message.queue_name in ACTORS
        and message.actor_name == ACTORS[message.queue_name][0]
        and (dict(message.kwargs), len(message.args)) == ({}, 1)
        and isinstance(message.args[0], str)
        and JOB_ID.fullmatch(message.args[0]) is not None
        and message.options.keys() == {"redis_message_id"}  # an `eta` would have the consumer's own thread run it
        and isinstance(message.options["redis_message_id"], str)
    )
