"""Hostile requests by kind: the bytes that each sends, and the allowed answers."""

import asyncio
import json
import os
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import jwt

SECRET = "a secret of thirty-two characters"
HEAD = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
UPGRADE = (
    "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
TEXT, BINARY, PING = 1, 2, 9
HELD_S = 1.0  # how long a client keeps a connection open
ENDED = 0  # the connection ended without an answer: unread input can discard one


def token(sub: str = "mallory") -> str:
    return jwt.encode({"sub": sub, "exp": time.time() + 3600}, SECRET, "HS256")


def request(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"{HEAD}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def asking(query: str, **further: Any) -> bytes:
    return request(
        json.dumps({"query": query, **further}, ensure_ascii=False).encode(), f"Authorization: Bearer {token()}"
    )


def frame(opcode: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload  # masked by zeros


def message(**fields: Any) -> bytes:
    return frame(TEXT, json.dumps(fields).encode())


def init(bearer: str) -> bytes:
    return message(type="connection_init", payload={"Authorization": f"Bearer {bearer}"})


@asynccontextmanager
async def connected(address: str) -> Any:
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def status(reader: asyncio.StreamReader) -> int:
    with suppress(ConnectionError):
        line = await reader.readline()
        if line.startswith(b"HTTP/1.1 "):
            return int(line[9:12])
    return ENDED


async def sent(data: Callable[[int], bytes], address: str, number: int) -> int:
    """Send bytes and return the status of the answer."""
    async with connected(address) as (reader, writer):
        writer.write(data(number))
        return await status(reader)


async def kept(data: Callable[[int], bytes], address: str, number: int) -> int:
    """Send five of them on one connection, each after the answer before; return the last answer's status."""
    last = ENDED
    async with connected(address) as (reader, writer):
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for part in range(5):
                writer.write(data(number * 5 + part))
                last = await status(reader)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
    return last


async def unread(data: Callable[[int], bytes], address: str, number: int) -> int:
    """Send five of them on one connection, and read none of the answers for a while."""
    async with connected(address) as (_, writer):
        writer.transport.pause_reading()
        for part in range(5):
            writer.write(data(number * 5 + part))
        await asyncio.sleep(HELD_S)
        return ENDED


async def opened(address: str, _number: int) -> int:
    async with connected(address):
        return ENDED


async def held(data: Callable[[int], bytes], address: str, number: int) -> int:
    """Like `sent`, but disconnect if no answer comes for a while."""
    async with connected(address) as (reader, writer):
        writer.write(data(number))
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_S):
                return await status(reader)
        return ENDED


async def flooded(chunk: bytes, begin: bytes, address: str, _number: int) -> int:
    """Send a megabyte more than is allowed, for as long as the server reads."""
    async with connected(address) as (reader, writer):
        writer.write(begin)
        with suppress(ConnectionError):
            for _ in range(1 + 1_000_000 // len(chunk)):
                writer.write(chunk)
                await writer.drain()
        return await status(reader)


async def spoken(data: Callable[[int], bytes], address: str, number: int) -> int:
    """Send these frames and return the close code of the socket, or ENDED if it stays open for a while."""
    async with connected(address) as (reader, writer):
        writer.write(UPGRADE.encode())
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            if (answered := await status(reader)) != 101:
                return answered
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data(number))
            async with asyncio.timeout(HELD_S):
                while True:
                    opcode, size = await reader.readexactly(2)
                    if size == 126:
                        (size,) = struct.unpack("!H", await reader.readexactly(2))
                    payload = await reader.readexactly(size)
                    if opcode & 0xF == 8:
                        return int.from_bytes(payload[:2], "big")
        return ENDED


@dataclass(frozen=True)
class Kind:
    attack: Callable[[str, int], Awaitable[int]]
    answers: set[int]
    dear: bool = False  # within the limits, and as expensive as possible


def numbered(text: str) -> Callable[[int], bytes]:
    """Make a document that is new to the server; `#` in it is the number."""
    return lambda number: asking(text.replace("#", f"{number}"))


def forged(number: int) -> bytes:
    claims = {"sub": "ada", "exp": time.time() + 60, "n": number}
    made = (jwt.encode(claims, "another secret of as many characters", "HS256"), jwt.encode(claims, "", "none"))
    bearer = (*made, "a." * 3_000, f"{made[0]}x", "x")[number % 5]
    return request(b'{"query": "{ viewer { id } }"}', f"Authorization: Bearer {bearer}")


def subscriptions(number: int) -> bytes:
    query = {"query": f"subscription {{ a{number}: jobsUpdated {{ id }} }}"}
    return init(token()) + b"".join(message(type="subscribe", id=str(n), payload=query) for n in range(100))


def patterns(number: int) -> bytes:
    """Open twenty subscriptions, each with twenty patterns that are new to the server."""
    query = "subscription ($names: [String!]) { jobsUpdated(filter: {handler: $names}) { id } }"
    many = ([f"{'*a' * 20}{number}*{n}*{k}" for k in range(20)] for n in range(20))
    return init(token()) + b"".join(
        message(type="subscribe", id=str(n), payload={"query": query, "variables": {"names": names}})
        for n, names in enumerate(many)
    )


def of_many_names(number: int) -> bytes:
    query = "query ($names: [String!]) { jobs(first: 1, filter: {handler: $names}) { nodes { id } } }"
    return asking(query, variables={"names": [f"{number % 1000}*{n}" for n in range(7_000)]})


FIELDS = "id handler status version result progress { completed total message } "
FIELDS += "steps { name status startedAt finishedAt result } attempts { number worker startedAt error { code } } "
PAGE = f"jobs(first: 200) {{ nodes {{ {FIELDS} }} }} "
PAGES = " ".join(f"a#b{n}: {PAGE}" for n in range(15))
TWICE = f"a#: jobs(first: 200) {{ nodes {{ {FIELDS} }} edges {{ node {{ {FIELDS} }} }} }}"
ITEM = "letters " * 250
PROCESS = f'a#: processItem(input: {{item: "{ITEM}"}}) {{ job {{ id }} errors {{ code }} }} '
REGISTER = 'mutation ($name: String!) { registerUser(input: {username: $name, email: "a@b.c"}) { errors { code } } }'
MARKS = "a" + "".join(chr(0x0300 + (k * 37) % 0x50) for k in range(45_000))
FRAGMENTS = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(24))
STREAM = f"Accept: text/event-stream\r\nAuthorization: Bearer {token()}"
NAMES = b",".join(b'"%d":1' % n for n in range(8_000))
ALIASES = "".join(f"a#b{n}: viewer {{ id }} " for n in range(190))
UNKNOWN = " ".join(f"x{n}" for n in range(480))
REPEATED = 'a#: processItem(input: {item: ""}) { replayed } ' * 6
SUBSCRIBE = json.dumps({"query": "subscription { jobsUpdated { id } }"}).encode()
HOSTS = ("a b", "a/b", "a@b", "[::1", "a,b", "")

KINDS = {
    "a body that is too large": Kind(
        partial(sent, lambda _: f"{HEAD}Content-Length: 900000\r\n\r\n".encode() + b"x" * 50_000), {413, ENDED}
    ),
    "a body without end, in chunks": Kind(
        partial(flooded, b"2000\r\n" + b" " * 0x2000 + b"\r\n", f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()),
        {413, ENDED},
    ),
    "a body in tiny chunks": Kind(
        partial(flooded, b"1\r\n \r\n" * 2_000, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()), {413, ENDED}
    ),
    "deep JSON": Kind(partial(sent, lambda _: request(b"[" * 90_000)), {400}),
    "objects in objects": Kind(partial(sent, lambda _: request(b'{"a":' * 900 + b"1" + b"}" * 900)), {400}),
    "a number of many digits": Kind(partial(sent, lambda _: request(b'{"query": ' + b"9" * 90_000 + b"}")), {400}),
    "many names": Kind(partial(sent, lambda _: request(b'{"a": {' + NAMES + b"}}")), {400}),
    "a body that does not come": Kind(
        partial(held, lambda _: f"{HEAD}Content-Length: 50\r\n\r\n{{".encode()), {ENDED, 408}
    ),
    "a head that does not come": Kind(partial(held, lambda _: HEAD.encode()), {ENDED, 408}),
    "a head without end": Kind(partial(flooded, b"X: a\r\n" * 1_000, HEAD.encode()), {431, ENDED}),
    "a connection that says nothing": Kind(partial(held, lambda _: b""), {ENDED}),
    "many requests at once": Kind(partial(sent, lambda _: request(b"x") * 300), {400, 415, ENDED}),
    "tokens": Kind(partial(sent, numbered("{ a#: viewer { " + "id " * 1_000 + "} }")), {400}),
    "depth": Kind(partial(sent, numbered("{ a#: jobs " + "{ nodes " * 300 + "{ id }" + " }" * 301)), {400}),
    "aliases": Kind(partial(sent, numbered(f"{{ {ALIASES} }}")), {400}),
    "directives": Kind(partial(sent, numbered("{ a#: viewer { " + "id @skip(if: false) " * 140 + "} }")), {400}),
    "fields": Kind(partial(sent, numbered("{ a#: viewer { " + "id " * 900 + "} }")), {400}),
    "fragments that multiply": Kind(
        partial(sent, numbered(f"{{ a#: viewer {{ id }} ...F0 }} {FRAGMENTS} fragment F24 on Query {{ __typename }}")),
        {400},
    ),
    "mutations": Kind(partial(sent, numbered(f"mutation {{ {REPEATED} }}")), {400}),
    "unknown names": Kind(partial(sent, numbered(f"{{ a# {UNKNOWN} }}")), {400}),
    "documents at the limits": Kind(
        partial(sent, numbered("{ a#: __typename " + "viewer { id } " * 70 + "}")), {200}, dear=True
    ),
    "pairs": Kind(partial(sent, numbered("{ a#: __typename " + "viewer { id } " * 160 + "}")), {400}),
    "forged tokens": Kind(partial(sent, forged), {401}),
    "GET": Kind(
        partial(sent, lambda n: f"GET /graphql?query={{a{n}:__typename}} HTTP/1.1\r\nHost: x\r\n\r\n".encode()), {405}
    ),
    "hosts that are none": Kind(
        partial(
            sent, lambda n: f"POST /graphql HTTP/1.1\r\nHost: {HOSTS[n % 6]}\r\nContent-Length: 0\r\n\r\n".encode()
        ),
        {400},
    ),
    "streams opened and left": Kind(partial(sent, lambda _: request(SUBSCRIBE, STREAM)), {200, 429}),
    "sockets that say nothing": Kind(partial(spoken, lambda _: b""), {ENDED, 429}),
    "sockets with forged tokens": Kind(partial(spoken, lambda _: init("x")), {4403, 429}),
    "too many subscriptions": Kind(partial(spoken, subscriptions), {ENDED, 429}),
    "binary frames": Kind(partial(spoken, lambda _: init(token()) + frame(BINARY, os.urandom(100)) * 10), {4400, 429}),
    "frames that are no message": Kind(partial(spoken, lambda _: init(token()) + frame(TEXT, b"[]") * 10), {4400, 429}),
    "fifteen pages": Kind(partial(kept, numbered(f"{{ {PAGES} }}")), {200}, dear=True),
    "a page, twice": Kind(partial(kept, numbered(f"{{ {TWICE} }}")), {200}, dear=True),
    "one page": Kind(partial(kept, numbered(f"{{ a#: {PAGE} }}")), {200}, dear=True),
    "pages that nobody reads": Kind(partial(unread, numbered(f"{{ {PAGES} }}")), {ENDED}, dear=True),
    "new documents, one after another": Kind(
        partial(kept, numbered("{ a#: __typename " + "viewer { id } " * 70 + "}")), {200}, dear=True
    ),
    "filters of many names": Kind(partial(kept, of_many_names), {200, 400}, dear=True),
    "patterns": Kind(partial(spoken, patterns), {ENDED, 429}, dear=True),
    "jobs": Kind(partial(kept, numbered(f"mutation {{ {PROCESS} }}")), {200}, dear=True),
    "jobs, five in each": Kind(
        partial(kept, numbered("mutation { " + "".join(PROCESS.replace("a#", f"a#b{n}") for n in range(5)) + "}")),
        {200},
        dear=True,
    ),
    "texts that are dear to compare": Kind(
        partial(
            kept,
            lambda n: asking(
                REGISTER,
                variables={"name": f"{MARKS}{n}"},
            ),
        ),
        {200},
        dear=True,
    ),
    "connections that come and go": Kind(opened, {ENDED}),
    "pings": Kind(partial(spoken, lambda _: init(token()) + frame(PING) * 2_000), {ENDED, 429}),
}
