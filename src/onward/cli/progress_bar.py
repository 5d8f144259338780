"""A bar for what takes long, for a person who looks on."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

SHOW_AFTER_S = 1.0  # what is over sooner shows nothing


@contextmanager
def bar(
    words: str, total: float | None = None, *, done: Callable[[], float] | None = None
) -> Iterator[Callable[[float], None]]:
    """How far it is, on standard error while the block lasts; nothing where what is written goes to no terminal.

    It is told by calls, or asked of `done` each time that it is drawn. Without a total the time alone is shown.
    """
    console = Console(stderr=True)
    # Asked here: rich takes a pipe for a terminal where FORCE_COLOR is set.
    if console.is_dumb_terminal or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield lambda _: None
        return
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()]
    shown = _Asking(*columns, *([TaskProgressColumn()] if total else []), console=console, transient=True)
    task = shown.add_task(words, total=total)
    if done:
        shown.ask = lambda: shown.update(task, completed=done())
    begin = Timer(SHOW_AFTER_S, shown.start)
    begin.daemon = True
    begin.start()
    try:
        yield lambda completed: shown.update(task, completed=completed)
    finally:
        begin.cancel()
        begin.join()
        shown.stop()


class _Asking(Progress):
    ask: Callable[[], None] = staticmethod(lambda: None)

    def get_renderables(self) -> Iterable[RenderableType]:
        with suppress(OSError):  # the file whose size is asked for may not be there yet
            self.ask()
        return super().get_renderables()
