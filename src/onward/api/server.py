"""The API process: binds its socket before anything else, and drains before it ends."""

import asyncio
import errno
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from onward import children, telemetry
from onward.api.addresses import Addresses
from onward.api.app import create_app
from onward.api.fair_scheduler import FairScheduler
from onward.api.http_connection import HttpConnection
from onward.api.idle_connections import IdleConnections, connection_capacity
from onward.api.port_holder import holder
from onward.api.unread_answers import UnreadAnswers
from onward.api.websocket_connection import WebSocketConnection
from onward.config.settings import Settings, SettingsError
from onward.graphql.base import SchemaError
from onward.runtime import garbage_collector
from onward.runtime.event_loop import Loop
from onward.runtime.sqlite_copies import is_embedded
from onward.web import build

EXIT_GRACE_S = 4.5  # after the drain deadline the process exits, whatever still hangs
SWITCH_INTERVAL_S = 0.001  # a computing thread yields to the event loop after this; Python's default of 5 ms adds up
UNREAD_TIMEOUT_S = 60  # a client that reads nothing of its answers is disconnected
MAX_UNREAD_BYTES = 128_000_000  # of answers that clients have not read yet
UNREAD_ANSWERS = 16  # of the largest size: so many fit in any case
START_PAUSE_S = 0.05  # before log lines and builds begin: whoever waits for the server has the first answer then
TICK_S = 1.0  # Uvicorn renews the header `Date`; its own loop wakes the process ten times as often
CLOSE_TIMEOUT_S = 3  # for open requests and streams, once the jobs are drained


def address(settings: Settings) -> tuple[int, Any]:
    """The family and the address to listen on. Raises SettingsError; also for a public one in open mode."""
    host, port = settings.server.host, settings.server.port
    try:
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SettingsError(f"server.host: {host!r} is not an address of this machine") from error
    _refuse_public_without_auth(settings, str(found[0]), host)
    return family, found


def bind(settings: Settings) -> socket.socket:
    """Bind a socket to the address of the settings. Raises SettingsError."""
    family, where = address(settings)
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _set_unread_timeout(bound)
    try:
        bound.bind(where)
        bound.listen(2048)
    except OSError as error:
        bound.close()
        refusal = _refusal(error, settings.server.host, settings.server.port)
        raise SettingsError(f"server.port: {refusal}") from error
    return bound


def adopt(settings: Settings, fd: int) -> socket.socket:
    """Take over a socket that the parent process has bound. Raises SettingsError."""
    try:
        bound = socket.socket(fileno=fd)
    except OSError as error:
        raise SettingsError(f"--fd: {fd} is not an inherited socket") from error
    if bound.family not in {socket.AF_INET, socket.AF_INET6} or bound.type != socket.SOCK_STREAM:
        raise SettingsError(f"--fd: {fd} is not a TCP socket")
    bound.set_inheritable(False)  # as one that is bound here: a program of a handler must not keep the port
    _refuse_public_without_auth(settings, bound.getsockname()[0], bound.getsockname()[0])
    _set_unread_timeout(bound)
    return bound


def _set_unread_timeout(bound: socket.socket) -> None:
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it from the listening socket
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_TIMEOUT_S * 1000)


def _refuse_public_without_auth(settings: Settings, address: str, host: str) -> None:
    """Raise SettingsError for a public address without authentication, unless the settings allow it."""
    private = ipaddress.ip_address(address).is_loopback
    if not private and settings.auth.mode == "open" and not settings.auth.allow_public:
        raise SettingsError(
            f'auth.mode is "open" (no authentication), and other machines reach {host}: '
            'set auth.mode = "jwt" or "custom", or allow it with auth.allow_public = true'
        )


def url(bound: socket.socket) -> str:
    """The URL of the socket for a browser on this machine."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: Settings, bound: socket.socket) -> None:
    """Serve the API until a signal, then drain. Raises SettingsError and StorageError."""
    try:
        app = create_app(settings, embedded=is_embedded(settings, with_gql=True))
    except SchemaError as error:
        raise SettingsError(f"gql.modules: {error}") from error
    telemetry.finish_configuring(if_loaded=True)  # a handler that has loaded structlog writes by it
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # The lifespan is entered below, so that an error at the start is reported in one line.
    config = configured(app, settings, lifespan="off")

    server = Server(config, settings, bound)

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            garbage_collector.started()
            await server.serve(sockets=[bound])

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(serve())


def bundle_builds(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Begin to build the console and the explorer, which ends with this process; None in production, or if built."""
    return None if settings.environment == "production" else build.build_in_background()


def configured(app: Starlette, settings: Settings, **options: Any) -> uvicorn.Config:
    """Uvicorn's configuration, with the connection classes of this package."""
    limits = settings.gql.limits
    addresses = Addresses(settings.server.proxies)
    unread = UnreadAnswers(max(MAX_UNREAD_BYTES, UNREAD_ANSWERS * limits.answer_bytes), addresses)
    http: Any = partial(  # called as Uvicorn calls a class
        HttpConnection,
        idle=IdleConnections(connection_capacity()),
        unread=unread,
        head_bytes=limits.head_bytes,
        head_timeout_s=limits.head_timeout_s,
    )
    sockets: Any = partial(WebSocketConnection, scheduler=FairScheduler(), unread=unread)
    return uvicorn.Config(
        app,
        http=http,
        timeout_keep_alive=settings.server.keep_alive_s,  # type: ignore[arg-type] # given to the loop's call_later
        ws=sockets,
        ws_max_size=limits.body_bytes,
        ws_per_message_deflate=False,  # a small frame could expand to a huge one
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
        **options,
    )


class Server(uvicorn.Server):
    """Uvicorn's server; at a signal it drains the jobs before it closes open connections."""

    def __init__(self, config: uvicorn.Config, settings: Settings, bound: socket.socket) -> None:
        super().__init__(config)
        self._settings = settings
        self._bound = bound
        self._builds: subprocess.Popen[bytes] | None = None
        self._exit_requested = asyncio.Event()
        children.shield(self._descriptors)
        children.default_signals_in_forks()

    def _descriptors(self) -> Iterator[int]:
        """The listening socket, and the accepted connections."""
        yield self._bound.fileno()
        for connection in self.server_state.connections:
            transport: Any = connection.transport
            accepted = None if transport is None else transport.get_extra_info("socket")
            if accepted is not None and accepted.fileno() >= 0:
                yield accepted.fileno()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _notify_systemd()
        self._beginning = asyncio.create_task(self._begin_lines_and_builds())

    async def _begin_lines_and_builds(self) -> None:
        """Load structlog and begin the builds, once requests are answered: both take time."""
        await asyncio.sleep(START_PAUSE_S)
        await asyncio.to_thread(telemetry.finish_configuring)
        log = telemetry.logger("onward")
        address = url(self._bound)
        log.info("serving", page=f"{address}/", graphql=f"{address}/graphql", backend=self._settings.backend)
        try:
            self._builds = await asyncio.to_thread(bundle_builds, self._settings)
        except OSError:
            log.warning("the console and the explorer cannot be built", exc_info=True)
        if self._builds is not None:
            log.info("building the console and the explorer from npm packages, once; it takes a minute or two")

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._exit_requested.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        # A handler's thread or a connection that hangs past the deadline does not keep the process.
        last = threading.Timer(self._settings.server.drain_s + EXIT_GRACE_S, children.leave, (0,))
        last.daemon = True
        last.start()
        telemetry.logger("onward").info("draining", at_most_s=self._settings.server.drain_s)
        await self.config.loaded_app.state.service.drain()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == signal.SIGINT:  # second Ctrl-C: exit now; running jobs are recovered
            children.leave(128 + sig)
        super().handle_exit(sig, frame)
        self._exit_requested.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals here: Uvicorn raises them again afterwards, which turns a clean exit into a failure."""
        loop, numbers = asyncio.get_running_loop(), children.stop_signals()
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def _notify_systemd() -> None:
    """Report readiness to systemd: the one message of sd_notify(3) that a service of `Type=notify` needs."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", f"\0{place[1:]}" if place.startswith("@") else place)


def _refusal(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            found = holder(port)
            by, fix = (f" by process {found[0]} ({found[1]})", "it") if found else ("", "the program that uses it")
            return f"port {port} of {host} is in use{by}: stop {fix}, or choose another port with --port"
        case errno.EACCES:
            return f"port {port} needs privileges: choose a port from 1024 on with --port"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine"
    return f"{host}:{port} cannot be listened on: {error.strerror}"
