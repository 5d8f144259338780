"""Queues of jobs, and destinations as the ledger has them: a backend, with a queue, as in "dramatiq:gpu"."""

import re

DEFAULT = "default"
"""The queue of the jobs of handlers that name none; it is not written behind the backend."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}", re.ASCII)
NAMED = "1 to 40 small letters, digits, or any of _ and -, a letter or a digit first"


def destination(backend: str, queue: str) -> str:
    """Return the destination of jobs of a queue on a backend."""
    return backend if queue == DEFAULT else f"{backend}:{queue}"


def split(found: str) -> tuple[str, str]:
    """Return the backend and the queue of a destination."""
    backend, _, queue = found.partition(":")
    return backend, queue or DEFAULT
