"""Turns a handler's name and parameters into a job that can be accepted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from onward.dispatch.patterns import NO_PRIORITIES, Patterns, Routes
from onward.handlers.base import Handler, InvalidParameters, Permanent, Unique, UnknownHandler
from onward.handlers.json_values import fault
from onward.handlers.on_failure import given_to
from onward.jobs.encryption import Encryption
from onward.jobs.idempotency import fingerprint
from onward.jobs.model import Job, JobError, NewJob, Step, UniqueKey
from onward.jobs.row import encode, encode_steps
from onward.telemetry.tracing import Tracing

PARAMS_BYTES = 1_000_000  # of a job's parameters, as they are kept: each claim and each page of jobs reads them
_OTHER_VERSION = "its parameters do not fit this version of {}; unless a newer one made it, delete it and make it anew"


def in_us(span: timedelta | None) -> int | None:
    """Return a span as microseconds."""
    return None if span is None else span // timedelta(microseconds=1)


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
        expires: timedelta | None = None,
        priority: int | None = None,
        trace: str | None = None,
    ) -> NewJob:
        """Check the parameters, and return the job; it carries the context of the open span, or else `trace`.

        Its `priority` is the handler's unless one is given: smaller goes first; `expires` likewise.

        Raises InvalidParameters, UnknownHandler; NoKey for want of one.
        """
        found = self._known(handler)
        clear = found.bind(params)
        try:
            stored = encode(self._encryption.encrypt(found, clear))
        except TypeError as error:
            wrong = (fault(value, name, lambda _: False) for name, value in clear.items())
            raise InvalidParameters([one for one in wrong if one is not None]) from error
        if len(stored) > PARAMS_BYTES or len(stored.encode()) > PARAMS_BYTES:
            words = f"the parameters take more than {PARAMS_BYTES:,} bytes as JSON: store the data elsewhere, and give"
            raise InvalidParameters([("", f"{words} the handler what finds it")])
        return self._new(
            found,
            stored,
            found.version,
            clear=clear,
            owner=owner,
            run_at=run_at,
            expires=expires,
            priority=priority,
            trace=trace,
        )

    def prepare_stored(self, handler: str, params: str, version: int) -> NewJob:
        """Return a job of parameters that were checked, encrypted and encoded before, in that version.

        Raises UnknownHandler. Where parameters are read, for a unique job's key or that of a limit, also Permanent:
        without the right key of the encryption, and for parameters of another version.
        """
        found = self._known(handler)
        by = {*(found.unique.by if found.unique else ()), *(found.limit.parameters if found.limit else ())}
        clear = self._readable(found, params, version) if by else {}
        if not by <= clear.keys():
            raise Permanent(_OTHER_VERSION.format(handler))
        return self._new(found, params, version, clear=clear)

    def _readable(self, found: Handler, params: str, version: int) -> dict[str, Any]:
        clear, _ = self._encryption.decrypt(orjson.loads(params))
        if version >= found.version or found.upgrade is None:
            return clear
        try:
            return found.upgrade(version, clear)
        except Exception as error:
            raise Permanent(_OTHER_VERSION.format(found.name)) from error

    def knows(self, handler: str) -> bool:
        """Return whether there is a handler of that name."""
        return handler in self._handlers

    def _known(self, handler: str) -> Handler:
        found = self._handlers.get(handler)
        if found is None:
            raise UnknownHandler(handler)
        return found

    def _new(
        self,
        found: Handler,
        params: str,
        version: int,
        *,
        clear: Mapping[str, Any],
        owner: str | None = None,
        run_at: int | None = None,
        expires: timedelta | None = None,
        priority: int | None = None,
        trace: str | None = None,
    ) -> NewJob:
        return NewJob(
            handler=found.name,
            backend=self.route(found.name),
            params=params,
            params_version=version,
            steps=self._dumped[found.name],
            max_attempts=found.retry.max_attempts,
            owner=owner,
            priority=self._priority(found.name) if priority is None else priority,
            run_at=run_at,
            expires=in_us(found.expires if expires is None else expires),
            trace=self._tracing.current() or trace,
            on_failure=found.on_failure,
            pending=self._steps[found.name],
            unique=None if found.unique is None else _unique_key(found.unique, clear, owner),
            limit_key=found.limit_key(clear),
        )

    def failure_params(self, failed: Job, error: JobError) -> dict[str, str]:
        """Return the parameters of the job that a failed job's `on_failure` gets. Raises UnknownHandler."""
        name = failed.on_failure or ""
        if name not in self._handlers:
            raise UnknownHandler(name)
        return given_to(self._handlers[name].parameters, (failed.id, failed.handler, error.code, error.message))


def _unique_key(unique: Unique, params: Mapping[str, Any], owner: str | None) -> UniqueKey:
    """Return the key of a job with these parameters: of secret ones, too, it shows nothing but a digest."""
    given: dict[str, Any] = {"by": {name: params[name] for name in unique.by}}
    if unique.per_owner:
        given["owner"] = owner
    return UniqueKey(
        fingerprint(given),
        unique.situations,
        in_us(unique.within),
        unique.replace,
        in_us(unique.debounce),
        in_us(unique.max_wait) or 0,
    )
