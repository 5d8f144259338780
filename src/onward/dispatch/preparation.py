"""Turns a handler's name and parameters into a job that can be accepted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from onward.dispatch.patterns import NO_PRIORITIES, Patterns, Routes
from onward.handlers.base import Handler, InvalidParameters, Unique, UnknownHandler
from onward.handlers.json_values import fault
from onward.jobs.encryption import Encryption
from onward.jobs.idempotency import fingerprint
from onward.jobs.model import NewJob, Step, UniqueKey
from onward.jobs.row import encode, encode_steps
from onward.telemetry.tracing import Tracing


class Preparation:
    """Checks, encrypts and stores parameters; adds the settings of the handler."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        route: Routes,
        priority: Patterns[int] = NO_PRIORITIES,
        encryption: Encryption,
        tracing: Tracing,
    ) -> None:
        self.route = route
        self._priority = priority
        self._handlers = handlers
        self._encryption = encryption
        self._tracing = tracing
        self._steps = {
            handler.name: tuple(Step(step.name, index) for index, step in enumerate(handler.steps))
            for handler in handlers.values()
        }
        self._dumped = {name: encode_steps(steps) for name, steps in self._steps.items()}

    def prepare(
        self,
        handler: str,
        params: Mapping[str, Any],
        *,
        owner: str | None,
        run_at: int | None = None,
        priority: int | None = None,
        trace: str | None = None,
    ) -> NewJob:
        """Check the parameters, and return the job; it carries the context of the open span, or else `trace`.

        Its `priority` is the handler's unless one is given: smaller goes first.

        Raises InvalidParameters, UnknownHandler; NoKey for want of one.
        """
        found = self._handlers.get(handler)
        if found is None:
            raise UnknownHandler(handler)
        clear = found.bind(params)
        bound = self._encryption.encrypt(found, clear)
        try:
            stored = encode(bound)
        except TypeError as error:
            wrong = (fault(value, name, lambda _: False) for name, value in bound.items())
            raise InvalidParameters([one for one in wrong if one is not None]) from error
        return NewJob(
            handler=handler,
            backend=self.route(handler),
            params=stored,
            params_version=found.version,
            steps=self._dumped[handler],
            max_attempts=found.retry.max_attempts,
            owner=owner,
            priority=self._priority(handler) if priority is None else priority,
            run_at=run_at,
            trace=self._tracing.current() or trace,
            pending=self._steps[handler],
            unique=None if found.unique is None else _unique_key(found.unique, clear, owner),
        )


def _unique_key(unique: Unique, params: Mapping[str, Any], owner: str | None) -> UniqueKey:
    """Return the key of a job with these parameters: of secret ones, too, it shows nothing but a digest."""
    given: dict[str, Any] = {"by": {name: params[name] for name in unique.by}}
    if unique.per_owner:
        given["owner"] = owner
    return UniqueKey(
        fingerprint(given),
        unique.situations,
        _us(unique.within),
        unique.replace,
        _us(unique.debounce),
        _us(unique.max_wait) or 0,
    )


def _us(time: timedelta | None) -> int | None:
    return None if time is None else time // timedelta(microseconds=1)
