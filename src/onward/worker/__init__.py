"""Worker processes: `onward worker`, or Dramatiq's own `dramatiq onward.worker:broker`."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Dramatiq looks the broker up by name: it is built when asked for, never at import.
    if name == "broker":
        from onward.worker.consumers import build_broker  # noqa: PLC0415 - as above

        return build_broker()
    raise AttributeError(name)
