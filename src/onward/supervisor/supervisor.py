"""Supervises several processes on one machine: restarts those that die, and stops them in order."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from onward.children import IS_UP, WANTS_REPLACEMENT, Child, signal_name, stop_signals

CANNOT_START = 2  # the exit code of a process that would fail the same way again, unless it has started before
HEALTHY_AFTER_S = 30.0  # a process that has lived as long starts its next back-off from the beginning
MAX_PAUSE_S = 15.0
LINE_BYTES = 1_000_000
BECOME = """
import os, signal, sys
user, parent, *program = sys.argv[1:]
if sys.platform == "linux":
    import ctypes
    kernel = ctypes.CDLL(None)
if user:
    import pwd
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
if sys.platform == "linux":
    kernel.prctl(1, signal.SIGTERM)  # last: another user's process forgets it
    if os.getppid() != int(parent):
        sys.exit(f"{program[0]}: the process that started it has ended")
try:
    os.execvp(program[0], program)
except OSError as error:
    sys.exit(f"{program[0]}: {error.strerror}")
"""
COLOURS = (36, 33, 35, 32, 34, 31)


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep alive: the label of its lines, its command, and its place in the order of stops."""

    name: str
    command: tuple[str, ...]
    replacing: tuple[str, ...] = ()  # further options of a process that takes the place of one which still works
    stage: int = 0  # at the end, stages end one after another, the lowest first
    stdin: bytes = b""
    descriptors: tuple[int, ...] = ()
    umask: int = -1  # rights that its files lack; -1 for this process's


def command(*arguments: str) -> tuple[str, ...]:
    """Return the command line of another Onward process with this one's Python and import path."""
    return (sys.executable, "-P", "-m", "onward", *arguments)


def bound(wanted: Sequence[str], *, user: str = "") -> tuple[str, ...]:
    """Return the command wrapped so that on Linux the kernel ends it with its parent; it runs as `user`, if given.

    So a killed supervisor leaves nothing behind. Done in the new process before it becomes the program, since code
    between fork and exec may hang where the parent has threads.
    """
    return (sys.executable, "-I", "-S", "-c", BECOME, user, str(os.getpid()), *wanted)


class Supervisor:
    """Keeps the processes alive until a signal, or until one of them cannot start."""

    def __init__(self, parts: Sequence[ProcessSpec], *, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        width = max(len(part.name) for part in parts)
        self._kept = [_SupervisedProcess(part, _prefix(part.name, width, index)) for index, part in enumerate(parts)]
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Return 0 after a signal, else the exit code of the process that could not start."""
        loop, numbers = asyncio.get_running_loop(), stop_signals()
        for number in numbers:
            loop.add_signal_handler(number, self._asked_to_stop, number)
        keeping = [asyncio.ensure_future(kept.keep()) for kept in self._kept]
        stop = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([stop, *keeping], return_when=asyncio.FIRST_COMPLETED)
        code = next((task.result() for task in keeping if task.done()), 0)
        await self._end()
        stop.cancel()
        await asyncio.gather(*keeping)
        for number in numbers:
            loop.remove_signal_handler(number)
        return code

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set() and number == signal.SIGINT:  # Ctrl-C once more: somebody will not wait
            for kept in self._kept:
                kept.kill()
        self._stopping.set()

    async def _end(self) -> None:
        deadline = time.monotonic() + self._deadline_s
        for stage in sorted({kept.part.stage for kept in self._kept}):
            ending = [kept for kept in self._kept if kept.part.stage == stage]
            await asyncio.gather(*(kept.end(max(deadline - time.monotonic(), 2.0)) for kept in ending))


class _SupervisedProcess:
    def __init__(self, part: ProcessSpec, prefix: bytes) -> None:
        self.part = part
        self._prefix = prefix
        self._children: dict[Child, asyncio.Task[int]] = {}  # the newest last; before it those that it replaces
        self._ending = asyncio.Event()

    async def keep(self) -> int:
        """Restart the process until it is ended or cannot start; return the exit code."""
        pause_s = 0.5
        before = False
        while True:
            started = time.monotonic()
            try:
                code = await self._live()
            except OSError as error:  # no process or no memory is left: for a while, as a rule
                pause_s = min(pause_s * 2, MAX_PAUSE_S)
                self._log(f"cannot be started ({error.strerror or error}): trying again in {pause_s:.0f} s")
                if await self._is_ended_within(pause_s):
                    return 0
                continue
            if self._ending.is_set():
                return 0
            if code is None:
                before = True
                lived_s = time.monotonic() - started
                if lived_s > HEALTHY_AFTER_S:
                    pause_s = 0.5
                    continue
                # It works on meanwhile. A fresh process that is too large already would be replaced without end.
                pause_s = min(pause_s * 2, MAX_PAUSE_S)
                self._log(
                    f"wants to be replaced after {lived_s:.0f} s, and is in {pause_s:.0f} s: where this goes on, raise "
                    "recycle_after_jobs or recycle_above_mb of [worker]"
                )
                if await self._is_ended_within(pause_s):
                    return 0
                continue
            self._log(f"ended with {code}" if code >= 0 else f"killed by {signal_name(-code)}")
            if code == CANNOT_START and not before:
                return code
            before = True  # what it needs was there, and comes back: the ledger, say
            pause_s = 0.5 if time.monotonic() - started > HEALTHY_AFTER_S else min(pause_s * 2, MAX_PAUSE_S)
            self._log(f"starting again in {pause_s:.0f} s")
            if await self._is_ended_within(pause_s):
                return 0

    async def _is_ended_within(self, pause_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), pause_s)
        return self._ending.is_set()

    async def _live(self) -> int | None:
        """Run the process until its end, and return its exit code; None if it asks for a replacement before.

        Raises OSError if it cannot be started.
        """
        child = await Child.start(
            bound((*self.part.command, *(self.part.replacing if self._children else ()))),
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=self.part.descriptors,
            umask=self.part.umask,
            start_new_session=True,  # Ctrl-C is for the supervisor, which ends its parts in order
        )
        replace = asyncio.Event()
        self._children[child] = life = asyncio.ensure_future(self._follow(child, replace))
        if self._ending.is_set():
            child.signal(signal.SIGTERM)
        if self.part.stdin and child.input_fd is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(child.input_fd, self.part.stdin)  # less than a pipe holds, so that nobody waits
        child.close_input()
        wanted = asyncio.ensure_future(replace.wait())
        await asyncio.wait({life, wanted}, return_when=asyncio.FIRST_COMPLETED)
        wanted.cancel()
        return life.result() if life.done() else None

    async def _follow(self, child: Child, replace: asyncio.Event) -> int:
        """Show the process's output, with its name before each line, until its end; return its exit code."""
        rest = b""

        def take(chunk: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES:
                lines, rest = [*lines, rest], b""
            shown = (self._shown(line, child, replace) for line in lines)
            self._write([line for line in shown if line is not None])

        reading = asyncio.ensure_future(child.read(take))
        await child.exit()
        child.kill_group()  # processes that it forked hold its output, and would go on without it
        code = await reading
        self._write([rest] if rest else [])
        del self._children[child]
        return code

    def _shown(self, line: bytes, child: Child, replace: asyncio.Event) -> bytes | None:
        """Return what is shown of the line: without words for the supervisor, which may end a handler's line."""
        for words in (WANTS_REPLACEMENT, IS_UP):
            if line.endswith(words):
                break
        else:
            return line
        if words == WANTS_REPLACEMENT:
            replace.set()
        else:
            for older in list(self._children)[: list(self._children).index(child)]:
                older.signal(signal.SIGTERM)
        return line.removesuffix(words) or None

    async def end(self, timeout_s: float) -> None:
        """End the process and those that it replaces: by a signal, and killed after the timeout."""
        self._ending.set()
        if not self._children:
            return
        for child in self._children:
            child.signal(signal.SIGTERM)
        await asyncio.wait(set(self._children.values()), timeout=timeout_s)
        if any(child.is_up for child in self._children):
            self._log("did not end in time: killed")
            self.kill()
        if self._children:
            await asyncio.wait(set(self._children.values()))

    def kill(self) -> None:
        """Kill the process and all that it has started."""
        for child in self._children:
            if child.is_up:
                child.kill_group()

    def _log(self, words: str) -> None:
        self._write([words.encode()])

    def _write(self, lines: Sequence[bytes]) -> None:
        # Its reader or its terminal has gone, or the disk is full: the processes go on, and are stopped in order.
        with contextlib.suppress(OSError):
            sys.stdout.buffer.write(b"".join(self._prefix + line + b"\n" for line in lines))
            sys.stdout.buffer.flush()


def _prefix(name: str, width: int, index: int) -> bytes:
    text = f"{name:<{width}} | "
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return (f"\033[{COLOURS[index % len(COLOURS)]}m{text}\033[0m" if coloured else text).encode()
