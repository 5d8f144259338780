"""Checks the Redis of the Dramatiq backend: that it answers, keeps its data, and never evicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from onward.backends.redis_broker import Broker
from onward.findings import Finding, State, in_one_line


def reason(error: redis.RedisError) -> str:
    """Return the reason why a Redis that answers is of no use, as a public text; empty if it does not answer."""
    for kind, words in (
        (redis.exceptions.NoPermissionError, "its Redis refuses a command, which `onward check` names"),
        (redis.AuthenticationError, "its Redis refuses user or password"),
        (redis.exceptions.OutOfMemoryError, "its Redis is out of memory"),
        (redis.exceptions.ReadOnlyError, "its Redis is a replica"),
    ):
        if isinstance(error, kind):
            return words
    return ""


def check(client: Any, broker: Broker) -> Iterator[Finding]:
    """Check the Redis of a client, and that it allows all of the broker's commands. Blocks."""
    try:
        server = client.info("server")
    except redis.AuthenticationError as error:
        fix = "put user and password into the URL"
        yield Finding("redis", State.WRONG, f"refuses us: {in_one_line(error)}", fix)
        return
    except redis.RedisError as error:
        fix = "start it, correct backends.dramatiq.url, or let `onward up` start a private one"
        yield Finding("redis", State.WRONG, f"does not answer: {in_one_line(error)}", fix)
        return
    yield Finding("redis", State.OK, f"Redis {server['redis_version']} answers")
    try:
        refused = broker.refused_commands(client)
    except redis.RedisError as error:
        words = f"cannot be used: {in_one_line(error)}"
        yield Finding("redis", State.WRONG, words, "name the master in backends.dramatiq.url, or give it more memory")
        return
    if refused:
        fix = "give the user the rules of docs/deploying.md#redis"
        yield Finding("redis", State.WRONG, f"the user may not use {', '.join(refused)}", fix)
    try:
        configured = client.config_get("appendonly", "save", "maxmemory-policy")
    except redis.RedisError:
        words = "does not show its configuration; it should keep an append-only file and never evict"
        yield Finding("redis", State.WARNING, words, "see to appendonly yes and maxmemory-policy noeviction")
        return
    if configured["appendonly"] != "yes":
        kept = "keeps snapshots only" if configured["save"] else "keeps nothing on disk"
        words = f"{kept}: after its restart waiting jobs are delivered again from the ledger, seconds later"
        yield Finding("redis", State.WARNING, words, "set appendonly yes")
    if configured["maxmemory-policy"] != "noeviction":
        words = f"may drop queues when memory is short (maxmemory-policy {configured['maxmemory-policy']})"
        yield Finding("redis", State.WARNING, words, "set maxmemory-policy noeviction")
