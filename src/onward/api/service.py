"""The serving process's parts and its views: for `serve`, and inside another application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from onward.api import composition
from onward.api.rates import Rates
from onward.api.request_gate import RequestGate
from onward.api.session import OpenSessions
from onward.api.view import Explorer, View
from onward.backends.base import Role
from onward.config.settings import Settings
from onward.graphql.context import Services
from onward.runtime.wiring import Runtime, run_process

CLOSE_TIMEOUT_S = 3.0  # for streams to end, once the jobs are drained


class Service:
    """A running process that accepts jobs over GraphQL. `open_service` makes one."""

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self.runtime = runtime
        self.services: Services = composition.services(runtime)
        self.sessions = OpenSessions()
        self._settings = settings
        self._views: list[View] = []
        self._gates: list[RequestGate] = []
        self._rates: Rates | None = None

    def view(self, gate: RequestGate, explorer: Explorer | None = None) -> View:
        """Return a view behind a gate, which answers until the service is closed. All gates share one `rates`."""
        self.count_by(gate)
        shown = explorer if composition.is_open(self._settings) else None
        view = View(gate, self.services, explorer=shown, get_queries=composition.answers_get(self._settings))
        self._views.append(view)
        return view

    def count_by(self, gate: RequestGate) -> None:
        """Let the gate's `rates` exchange their counts with other processes, until the service closes the gate."""
        if not any(one is gate for one in self._gates):  # a router's comes at each request
            self._gates.append(gate)
        if self._rates is None:
            self._rates = gate.rates
            self._rates.start()

    async def drain(self) -> None:
        """Begin no further job, wait for what runs or hand it back, then end streams. May be called twice.

        Calls that wait for a job end with the streams. Where workers run jobs they have as long as a drain may take.
        """
        loop, runtime = asyncio.get_running_loop(), self.runtime
        deadline = loop.time() + self._settings.server.drain_s
        await runtime.drain()
        self.end_streams()  # after the last change of the drained jobs
        if any(backend.runs_elsewhere for backend in runtime.dispatcher.backends.values()):
            loop.call_at(deadline, runtime.change_feed.end_calls)
        else:
            runtime.change_feed.end_calls()

    def end_streams(self) -> None:
        """End the open event streams and WebSockets, so that a server can stop. May be called twice."""
        self.sessions.close()
        for view in self._views:
            view.close()

    async def close(self) -> None:
        """Drain, and end what the views hold; the parts of the process are closed by `open_service`.

        Some servers end the lifespan while connections are open, and stop the event loop right after it.
        """
        await self.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for view in self._views:
                    await view.wait_closed()
        for gate in self._gates:
            await gate.close()
        if self._rates is not None:
            await self._rates.close()


@asynccontextmanager
async def open_service(settings: Settings, *, embedded: bool = False) -> AsyncIterator[Service]:
    """Start a process that accepts and runs jobs; drain and close it at the end.

    `embedded` is for a process whose other code may open the ledger's database. Raises SettingsError and StorageError,
    and whatever a part of the project's raises.
    """
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(run_process(settings, Role.ACCEPT, embedded=embedded))
        service = Service(settings, runtime)
        stack.push_async_callback(service.close)
        yield service
