"""The difference between the ledger's clock and the process's, as far as the transactions of a writer tell it."""

from __future__ import annotations

import math


class ClockShift:
    """The microseconds to add to the process's time for the ledger's.

    The ledger read its clock between a question and its answer, so that each answer bounds the shift; an answer that
    comes late bounds it loosely, and all of them together as closely as the quickest (Cristian, 1989; Marzullo, 1984).
    While neither clock is set, nothing that the process does after an answer is dated before the time in that answer.
    On SQLite, whose clock counts milliseconds, it may be dated one earlier.
    """

    def __init__(self) -> None:
        self._least: float = -math.inf
        self._most: float = math.inf

    def measure(self, asked: int, now: int, answered: int) -> int:
        """Return the shift. `now` is the time in the answer; the others are the process's own, before and after."""
        least: float = now - answered
        most: float = now - min(asked, answered)  # the process's clock may have been set back between the two
        if least <= self._most and most >= self._least:
            least, most = max(least, self._least), min(most, self._most)
        # Otherwise one of the clocks has been set, or has drifted: earlier answers no longer count.
        self._least, self._most = least, most
        return int(least + most) // 2
