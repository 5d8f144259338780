"""Garbage-collector tuning for long-lived processes: objects made at the start stay."""

import gc

# Thresholds of the three generations; Python's are 700, 10, 10.
COUNTS = (10_000, 2, 20)


def start() -> None:
    """Collect nothing until `started`, since hardly anything of a start is garbage."""
    gc.disable()


def started() -> None:
    """Leave present objects alone from now on, and collect later ones less often."""
    gc.freeze()
    gc.set_threshold(*COUNTS)
    gc.enable()
