"""The commands of Redis that are used, each tried with a key of its own, because a missing right shows only in use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

KEPT_S = 60


def _commands(key: str) -> Iterator[tuple[str | int, ...]]:
    text, row, line, several, ranked = (f"{key}:{kind}" for kind in ("text", "hash", "list", "set", "sorted"))
    yield from (("SET", text, 1, "NX"), ("GET", text), ("INCRBY", text, 1), ("EXPIRE", text, KEPT_S))
    yield from (("HSET", row, "a", 1), ("HEXISTS", row, "a"), ("HMGET", row, "a"), ("HDEL", row, "a"))
    yield from (("LPUSH", line, 1), ("RPUSH", line, 1), ("LTRIM", line, -2, -1), ("LLEN", line))
    yield from (("LPOP", line), ("BLPOP", line, "0.01"))
    yield from (("SADD", several, 1), ("SMEMBERS", several), ("SREM", several, 1))
    yield from (("ZADD", ranked, 1, "a"), ("ZRANGEBYSCORE", ranked, "-inf", 0), ("ZREM", ranked, "a"))
    yield from (("INFO", "server"), ("DEL", text, row, line, several, ranked))


def refused(client: Any, key: str, script: Any) -> list[str]:
    """Try each command with keys that begin with `key`, and return those that are refused. Raises redis.RedisError.

    In two round trips: with one for each command, a Redis that is some milliseconds away would pass for unreachable.
    """
    commands = [*_commands(key), ("SCRIPT LOAD", script.script), ("EVALSHA", script.sha, 1, key, "-inf")]
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    answers = [*pipe.execute(raise_on_error=False), _in_transaction(client, f"{key}:text")]
    names = [*(str(command[0]) for command in commands), "MULTI"]
    return [name for name, answer in zip(names, answers, strict=True) if _is_refusal(answer)]


def _is_refusal(answer: Any) -> bool:
    """Return whether the command was refused. Raises other errors."""
    if not isinstance(answer, redis.RedisError) or isinstance(answer, redis.exceptions.NoScriptError):
        return False  # a script that could not be loaded is reported already
    if isinstance(answer, redis.exceptions.NoPermissionError):
        return True
    if "can't run this command" not in str(answer):  # else of a command in the script, which is reported already
        raise answer
    return False


def _in_transaction(client: Any, key: str) -> Any:
    """Return the answers of a transaction, or its error."""
    try:
        return client.pipeline(transaction=True).get(key).execute()
    except redis.ResponseError as error:
        return redis.exceptions.NoPermissionError() if "without MULTI" in str(error) else error  # from EXEC, if allowed
