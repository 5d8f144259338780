"""Child processes: those that this process starts, and those that code in it forks (multiprocessing, `os.fork`)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import weakref
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Never

IS_UP = b"\0onward: up"
WANTS_REPLACEMENT = b"\0onward: replace me"
"""Lines by which a supervised process tells its supervisor something; they are not shown."""
STREAM_BYTES = 2**16  # that are read ahead of a child's output
LAST_OUTPUT_S = 1.0  # for the rest of a child's output after its end: a process that it left behind may hold the pipe
FULL_PIPE_S = 0.01  # between two tries to write to a process that has not read yet


@dataclass(frozen=True)
class HandedDown:
    """Environment and settings of a process that runs jobs of this one."""

    environment: Mapping[str, str]
    settings: bytes = field(repr=False)  # a line for its standard input, made by `onward.config.inherited`


class Child:
    """A process that was started here, its standard input and output pipes of this process.

    Its input ends with this process, or at `close_input`.
    """

    def __init__(
        self,
        process: Process,
        transport: asyncio.SubprocessTransport,
        exited: asyncio.Future[None],
        *,
        input_fd: int,
        inputs: set[int],
    ) -> None:
        self.process = process
        self.pid = process.pid
        self.input_fd: int | None = input_fd
        self._transport = transport
        self._exited = exited
        self._inputs = inputs

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        inputs: set[int] | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Child:
        """Start the command. Raises OSError.

        `inputs` has the number of this end of its input as long as that is open, for `shield`: a process that is forked
        meanwhile would keep it open.
        """
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[None] = loop.create_future()
        inputs = set() if inputs is None else inputs
        theirs, ours = os.pipe()  # the loop's own pipe has no number that could be told
        inputs.add(ours)
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _Protocol(exited),
                *command,
                stdin=theirs,
                **{"stdout": PIPE, "stderr": None, "env": env, **options},
            )
        except BaseException:
            os.close(ours)
            inputs.discard(ours)
            raise
        finally:
            os.close(theirs)
        return cls(Process(transport, protocol, loop), transport, exited, input_fd=ours, inputs=inputs)

    async def write(self, data: bytes) -> None:
        """Write to the process's input, until the process has got all or reads no more."""
        while data and self.input_fd is not None and self.is_up:
            os.set_blocking(self.input_fd, False)
            try:
                data = data[os.write(self.input_fd, data) :]
            except BlockingIOError:
                await asyncio.sleep(FULL_PIPE_S)
            except BrokenPipeError:
                return

    def close_input(self) -> None:
        """Tell the process that no more input comes. May be called twice."""
        if self.input_fd is not None:
            os.close(self.input_fd)
            self._inputs.discard(self.input_fd)
            self.input_fd = None

    @property
    def is_up(self) -> bool:
        return not self._exited.done()

    async def exit(self) -> None:
        """Wait for the end of the process alone, while asyncio's own wait also waits for the end of its pipes."""
        await asyncio.wait({self._exited})

    async def read(self, take: Callable[[bytes], None]) -> int:
        """Pass the process's output to `take` until its end, and return the exit code."""
        reading = asyncio.ensure_future(self._read(take))
        try:
            await asyncio.wait({self._exited})
            await asyncio.wait({reading}, timeout=LAST_OUTPUT_S)
        finally:
            reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        code = self.process.returncode
        self.close()
        assert code is not None  # noqa: S101 - for the type checker
        return code

    def close(self) -> None:
        """Close its pipes here, after its end. May be called twice."""
        self._transport.close()
        self.close_input()

    async def _read(self, take: Callable[[bytes], None]) -> None:
        assert self.process.stdout is not None  # noqa: S101 - for the type checker
        while chunk := await self.process.stdout.read(STREAM_BYTES):
            take(chunk)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if it lives."""
        if self.is_up:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    def kill_group(self) -> None:
        """Kill the process and all that it has started; for one that was started with `start_new_session`."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class _Protocol(SubprocessStreamProtocol):
    """Signals the process's end."""

    def __init__(self, exited: asyncio.Future[None]) -> None:
        super().__init__(STREAM_BYTES, asyncio.get_running_loop())
        self._exited = exited

    def process_exited(self) -> None:
        super().process_exited()
        if not self._exited.done():
            self._exited.set_result(None)


def notify_supervisor(words: bytes) -> None:
    """Write the line to standard output, which the supervisor reads."""
    with suppress(OSError):
        os.write(1, words + b"\n")


def shield(descriptors: Callable[[], Iterable[int]]) -> None:
    """Keep these descriptors from processes that are forked later on; `descriptors` is a method, held weakly.

    It is asked in the forked process, which finds nothing behind these numbers. A listening socket or a connection
    would stay open there after this process has ended, and whoever calls would wait for ever.
    """
    method = weakref.WeakMethod(descriptors)

    def close() -> None:
        if (ask := method()) is not None:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in list(ask()):
                # The number stays in use, so that no object that knows it closes another file of that number.
                os.dup2(null, fd, inheritable=False)
            os.close(null)

    os.register_at_fork(after_in_child=close)


def call_in_forks(method: Callable[[], object]) -> None:
    """Call the method in processes that are forked later on; it is held weakly."""
    held = weakref.WeakMethod(method)

    def call() -> None:
        if (found := held()) is not None:
            found()

    os.register_at_fork(after_in_child=call)


class ForkGuard:
    """Ends a process that was forked by code on the event loop, or by a handler, as soon as that code returns.

    The loop, the jobs and the connections behind it are the parent's: the fork would take the parent's events, and run
    other jobs a second time. Until it returns, it may do what it likes. To be made on the event loop.
    """

    def __init__(self) -> None:
        self.is_fork = False
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        call_in_forks(self._note)

    def _note(self) -> None:
        self.is_fork = True
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self.end)

    def end(self) -> Never:
        """End this process as its `sys.exit()` says, or with code 1 and a line that tells how to end it."""
        error = sys.exc_info()[1]
        if isinstance(error, SystemExit):
            os._exit(error.code if isinstance(error.code, int) else int(error.code is not None))
        words = f"onward: process {os.getpid()} was forked, returned into the code of its parent, and was ended:"
        with suppress(OSError):  # not by the log: another thread may have held its lock at the fork
            os.write(2, f"{words} end such a process by os._exit(0), or use multiprocessing\n".encode())
        os._exit(1)


def leave(code: int) -> Never:
    """End this process at once, without a wait for hanging threads or processes of multiprocessing."""
    forks = sys.modules.get("multiprocessing.process")
    if forks is not None:
        with suppress(Exception):  # whatever state they are in
            for process in forks.active_children():
                process.kill()
    os._exit(code)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGKILL; the number of one that has no name, as most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals at which a process drains and ends: of a user, a service manager, and a terminal that closes.

    SIGHUP is left out where it is ignored, as `nohup` has it.
    """
    asked = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    return asked if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (*asked, signal.SIGHUP)


def default_signals_in_forks() -> None:
    """Let signals end processes that are forked later on, as they would without this process's handlers.

    An event loop's handlers would pass the signal on to the loop of this process, which would take it for its own.
    """

    def reset() -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    os.register_at_fork(after_in_child=reset)
