"""The commands of Redis that are used, each tried with a key of its own, because a missing right shows only in use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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
    """Try each command with keys that begin with `key`, and return those that are refused. Raises redis.RedisError."""
    calls = [
        *((str(command[0]), partial(client.execute_command, *command)) for command in _commands(key)),
        ("MULTI", partial(_in_transaction, client, f"{key}:text")),
        ("SCRIPT LOAD", partial(client.script_load, script.script)),
        ("EVALSHA", partial(client.evalsha, script.sha, 1, key, "-inf")),
    ]
    found = []
    for name, call in calls:
        try:
            call()
        except redis.exceptions.NoPermissionError:
            found.append(name)
        except redis.exceptions.NoScriptError:
            continue  # it could not be loaded, which is reported already
        except redis.ResponseError as error:
            if "can't run this command" not in str(
                error
            ):  # an error of a command in the script, which is reported already
                raise
    return found


def _in_transaction(client: Any, key: str) -> None:
    client.pipeline(transaction=True).get(key).execute()
