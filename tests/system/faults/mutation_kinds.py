"""The kinds of mutation that a client sends: the request, and the expected end of the job."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

ANSWER = "{ job { id } replayed errors { code message } }"
Params = Mapping[str, Any]
Chosen = Params | Callable[[random.Random], Params]
NONE: Params = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mutation; `variables` builds a request's from its marker, its key and further parameters."""

    name: str
    handler: str
    query: str
    variables: Callable[[int, str | None, Params], dict[str, Any]]
    status: str = "SUCCEEDED"
    code: str | None = None
    steps: tuple[str, ...] = field(default=())  # the recorded steps of a job that succeeds
    expires: bool = False  # it may be CANCELLED, code EXPIRED, as well
    shares: bool = False  # it may be given the unfinished job of another request


def _register(marker: int, key: str | None, _params: Params) -> dict[str, Any]:
    return {"input": {"username": f"user{marker}", "email": f"u{marker}@example.org", "idempotencyKey": key}}


def _notify(marker: int, key: str | None, _params: Params) -> dict[str, Any]:
    return {"input": {"email": f"u{marker}@example.org", "message": f"marker {marker}", "idempotencyKey": key}}


def _process(marker: int, key: str | None, params: Params) -> dict[str, Any]:
    return {"input": {"item": f"marker {marker}", "idempotencyKey": key, "runAt": params.get("runAt")}}


def _contract(name: str, handler: str, variables: Callable[[int, str | None, Params], dict[str, Any]]) -> Kind:
    title = name[0].upper() + name[1:]
    return Kind(name, handler, f"mutation($input: {title}Input!) {{ r: {name}(input: $input) {ANSWER} }}", variables)


def _act(name: str, *steps: str, status: str = "SUCCEEDED", code: str | None = None, **more: bool) -> Kind:
    handler = {"cancelled": "faults.dull"}.get(name, f"faults.{name}")

    def variables(marker: int, key: str | None, params: Params) -> dict[str, Any]:
        own = {key: value for key, value in params.items() if key != "runAt"}
        at = params.get("runAt")
        return {"handler": handler, "params": {**own, "marker": marker}, "key": key, "runAt": at}

    query = (
        "mutation($handler: String!, $params: JSON!, $key: String, $runAt: DateTime)"
        f" {{ r: act(handler: $handler, params: $params, key: $key, runAt: $runAt) {ANSWER} }}"
    )
    return Kind(name, handler, query, variables, status, code, steps, **more)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _contract("registerUser", "email.welcome", _register),
            _contract("sendNotification", "logging.write", _notify),
            _contract("processItem", "steps.process_item", _process),
            _act("steps", "first", "second", "third"),
            _act("streams", "draft", "polish"),
            _act("waits", "first", "second", "decided"),
            _act("batch", "batch"),
            _act("flaky", "flaky"),
            _act("tells", "tells"),
            _act("only", "only"),
            _act("cancelled", status="CANCELLED"),
            _act("sole", "sole", shares=True),
            _act("keyed", "keyed"),
            _act("paired", "paired"),
            _act("rated", "rated"),
            _act("put_off", "put_off", shares=True),
            _act("fleeting", "fleeting", expires=True),
            _act("raises", status="FAILED", code="UNEXPECTED"),
            _act("refuses", status="FAILED", code="NEVER"),
            _act("hangs", status="FAILED", code="TIMED_OUT"),
            _act("stuck", status="FAILED", code="TIMED_OUT"),
            _act("blocks", "blocks"),
            _act("holds", "holds"),
            _act("dies", status="FAILED", code="POISON"),
            _act("eats", status="FAILED", code="POISON"),
            _act("unjson", status="FAILED", code="RESULT_NOT_JSON"),
            _act("leaves", status="FAILED", code="UNEXPECTED"),
        )
    }
)
