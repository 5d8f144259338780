"""The page of a signal's address: GET shows a form and changes nothing, POST sends the signal.

The token in the address is the right to send it, so that no session and no cookie is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from onward.dispatch import signals
from onward.handlers.base import InvalidParameters, Wait
from onward.jobs import ledger, waits
from onward.jobs.base import Conflict, NotFound
from onward.jobs.model import Job
from onward.jobs.signal_urls import Expired, Forged, SignalUrls, Target
from onward.jobs.states import StepStatus
from onward.runtime.wiring import Runtime
from onward.storage.base import Unavailable
from onward.web import pages

BODY_BYTES = 100_000
BODY_TIMEOUT_S = 20.0
FIELDS = 200  # of a form, at most
SENDER = waits.Sender(name="signal url")
Answer = Callable[[Request, str], Awaitable[Response]]


class Refused(Exception):
    """The request is answered with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def answers(urls: SignalUrls, runtime_of: Callable[[Request], Runtime]) -> Answer:
    """Return a function that answers a request for a token; `runtime_of` finds the parts of the process."""

    async def answer(request: Request, token: str) -> Response:
        try:
            target = urls.read(token)
            runtime = runtime_of(request)
            if request.method == "POST":
                return await _send(request, runtime, target)
            return await _show(runtime, target)
        except Refused as refused:
            return _said(request, refused.status, str(refused))
        except Forged as error:
            return _said(request, 403, str(error))
        except Expired as error:
            return _said(request, 410, str(error))
        except Unavailable:
            return _said(request, 503, "the ledger does not answer now; try again in a while")

    return answer


async def _send(request: Request, runtime: Runtime, target: Target) -> Response:
    try:
        await signals.send(
            target.job_id,
            target.name,
            await _payload(request, await _wait(runtime, target)),
            handlers=runtime.handlers,
            dispatcher=runtime.dispatcher,
            writer=runtime.writer,
            sender=SENDER,
            run=target.run,
        )
    except NotFound as error:
        raise Refused(404, str(error)) from error
    except Conflict as error:
        raise Refused(409, str(error)) from error
    except InvalidParameters as error:
        errors = [{"message": words, "path": path.split(".")} for path, words in error.errors]
        return JSONResponse({"errors": errors}, 422, headers=pages.PRIVATE)
    return _said(request, 200, "")


async def _show(runtime: Runtime, target: Target) -> Response:
    job, wait = await _found(runtime, target)
    if any(step.name == target.name and step.status is StepStatus.SUCCEEDED for step in job.steps):
        return pages.answer(target.name, "This has been answered.", 200)
    if job.done:
        return pages.answer(target.name, f"The job is over: {job.status}.", 200)
    return pages.answer(target.name, "", 200, schema=wait.schema)


async def _wait(runtime: Runtime, target: Target) -> Wait:
    return (await _found(runtime, target))[1]


async def _found(runtime: Runtime, target: Target) -> tuple[Job, Wait]:
    """Return the job and its wait. Raises Refused."""
    job = await runtime.database.read(partial(ledger.get, job_id=target.job_id))
    handler = None if job is None else runtime.handlers.get(job.handler)
    wait = None if handler is None else handler.wait(target.name)
    if job is None or wait is None:
        raise Refused(404, "there is no such job, or it waits for no such signal")
    try:
        waits.check_run(job, target.run)
    except Conflict as error:
        raise Refused(409, str(error)) from error
    return job, wait


async def _payload(request: Request, wait: Wait) -> Any:
    """Return the payload of a body in JSON or of a form; None for an empty one. Raises Refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _body(request)
    if kind == "application/x-www-form-urlencoded":
        try:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS))
        except ValueError as error:
            raise Refused(400, "this is no form in UTF-8, or it has too many fields") from error
        return wait.from_form(fields)
    if not body:
        return None
    if kind != "application/json":
        raise Refused(415, "send JSON (application/json) or a form (application/x-www-form-urlencoded)")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "this is not JSON in UTF-8") from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES:
                    raise Refused(413, f"the body may have {BODY_BYTES:,} bytes at most")
    except TimeoutError:
        raise Refused(408, "the body took too long to arrive") from None
    except ClientDisconnect as error:
        raise Refused(400, "the body has not come whole") from error
    return bytes(body)


def _said(request: Request, status: int, message: str) -> Response:
    """Answer a browser with a page, and any other client in JSON; an empty message says that the signal is there."""
    if "text/html" in request.headers.get("accept", ""):
        words = f"{message[:1].upper()}{message[1:]}." if message else "Thank you. Your answer has arrived."
        return pages.answer("", words, status)
    errors = [{"message": message, "path": None}] if message else []
    return JSONResponse({"errors": errors}, status, headers=pages.PRIVATE)
