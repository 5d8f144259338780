"""The interface of a maintenance service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar


class Service(ABC):
    """One kind of work on the ledger, repeated in a task of its own: mostly by the process that leads."""

    name: ClassVar[str]
    everywhere: ClassVar[bool] = False
    """Is it repeated in each process, whichever leads?"""

    @abstractmethod
    async def run_once(self) -> float:
        """Do what there is to do, and return the seconds until the next time. Raises Unavailable."""

    def stand_by(self) -> None:  # noqa: B027 - most remember nothing
        """Forget knowledge of the ledger, because another process leads and changes it."""
