"""A progress bar on a terminal, for operations that take long."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

SHOW_AFTER_S = 1.0  # a shorter operation shows nothing


@contextmanager
def bar(
    words: str, total: float | None = None, *, done: Callable[[], float] | None = None
) -> Iterator[Callable[[float], None]]:
    """Show progress on standard error during the block, but nothing unless both outputs are terminals.

    Call the yielded function with the progress, or pass `done`, which is asked at each redraw. Without a total the bar
    shows only the time.
    """
    console = Console(stderr=True)
    # Asked here: rich takes a pipe for a terminal where FORCE_COLOR is set.
    if console.is_dumb_terminal or not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield lambda _: None
        return
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()]
    shown = _PolledProgress(*columns, *([TaskProgressColumn()] if total else []), console=console, transient=True)
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


class _PolledProgress(Progress):
    ask: Callable[[], None] = staticmethod(lambda: None)

    def get_renderables(self) -> Iterable[RenderableType]:
        with suppress(OSError):  # the file whose size is asked for may not be there yet
            self.ask()
        return super().get_renderables()
