"""What the garbage collector may know of a process that lives long: what its start has made stays."""

import gc

# Of new objects until it looks at them, at the next older ones, at all: Python's are 700, 10, 10.
COUNTS = (10_000, 2, 20)


def start() -> None:
    """Nothing is collected until `started`: hardly anything that a start makes is garbage."""
    gc.disable()


def started() -> None:
    """What is there now is looked at no more, and what comes after it less often."""
    gc.freeze()
    gc.set_threshold(*COUNTS)
    gc.enable()
