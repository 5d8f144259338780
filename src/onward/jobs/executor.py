"""Executes the remaining steps of a claimed job, up to an outcome."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from onward.handlers.base import Handler, HandlerError, TimedOut
from onward.jobs import outcome as outcomes
from onward.jobs.arguments import arguments_of
from onward.jobs.batch_results import results_of
from onward.jobs.completion import Completion
from onward.jobs.control import Control
from onward.jobs.encryption import Encryption, redact, redact_value
from onward.jobs.model import Job, Step
from onward.jobs.outcome import HANDED_BACK, Ended, Outcome
from onward.jobs.results import storable
from onward.jobs.running import Running, StopReason
from onward.jobs.states import JobStatus, StepStatus
from onward.jobs.step_process import StepProcesses
from onward.jobs.step_runner import StepRunner
from onward.storage.base import Unavailable
from onward.storage.engine import Database
from onward.telemetry import logger
from onward.telemetry.tracing import Tracing

S = JobStatus
_name = attrgetter("name")


class Executor:
    """Executes jobs in one process."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        steps: StepRunner,
        processes: StepProcesses,
        completion: Completion,
        control: Control,
        encryption: Encryption,
        tracing: Tracing,
        database: Database,
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._steps = steps
        self._processes = processes
        self._completion = completion
        self._control = control
        self._encryption = encryption
        self._tracing = tracing
        self._chance = random.Random()  # noqa: S311 - jitter
        self._log = logger("runner")

    async def execute(self, running: Running) -> Ended:
        """Run the remaining steps, and return how the attempt ended. Raises Superseded if the claim was lost."""
        job = running.job
        handler = self._handlers.get(job.handler)
        if handler is None:
            message = f"no handler is named {job.handler!r} here; install it again, then retry the job"
            return Ended(job.steps, outcomes.failed("HANDLER_MISSING", message))
        steps = _steps_of(job, handler)
        if steps is None:
            message = "the handler's steps are other ones than when the job began; retry it from the start"
            return Ended(job.steps, outcomes.failed("STEPS_CHANGED", message))
        if (wait := handler.steps[_next_step(steps)].wait) is not None:  # after another wait, or at a retry
            return Ended(steps, outcomes.waiting(wait))
        if handler.timeout is not None:
            running.deadline = time.monotonic() + handler.timeout.total_seconds()
        if not handler.process:
            return await self._run_steps(running, handler, steps)
        running.process = self._processes.open(running)
        try:
            return await self._run_steps(running, handler, steps)
        finally:
            self._processes.end(running.process)

    async def _run_steps(self, running: Running, handler: Handler, steps: tuple[Step, ...]) -> Ended:
        index = _next_step(steps)
        given = (steps[handler.source_of(index)].result,) if index else None
        while True:
            step = handler.steps[index]
            running.step = step.name
            try:
                running.check()
                with self._tracing.span(f"step {step.name}", step=step.name):
                    result = await self._run_step(running, handler, index, given)
            except asyncio.CancelledError:
                if running.stop is not None:
                    return Ended(steps, self._failed(running, step.name, handler, None))
                # Handed back while nothing ends, it would start again at once: its handler may cancel all tasks.
                is_end = self._control.closing
                return Ended(steps, HANDED_BACK if is_end else outcomes.internal_error(running.job.attempts))
            except BaseException as error:  # noqa: BLE001 - handlers are other people's code: any error is recorded
                return Ended(steps, self._failed(running, step.name, handler, error))
            if index == len(steps) - 1:
                return Ended(steps, Outcome(S.SUCCEEDED, result=result))
            if (wait := handler.steps[index + 1].wait) is not None:
                return Ended(steps, outcomes.waiting(wait, result))
            # An error here is ours, and not the step's, which has succeeded.
            with running.paused_limit():
                running.steps = steps = await self._completion.finish_step(running, steps, result)
            if self._control.draining:
                return Ended(steps, HANDED_BACK)
            index, given = index + 1, (result,)

    async def _run_step(self, running: Running, handler: Handler, index: int, given: tuple[Any] | None) -> Any:
        """Run a step with the result of the one before (`given`), or with the job's parameters; return its result."""
        step = handler.steps[index]
        params = running.params
        if params is None:
            params, running.secrets = self._encryption.decrypt(running.job.params)
            running.params = params
        if running.process is not None:
            inputs = {"params": params, "version": running.job.params_version} if given is None else {"value": given[0]}
            inputs["secrets"] = running.secrets
            inputs["finished"] = [(one.name, one.result) for one in running.steps if one.status is StepStatus.SUCCEEDED]
            result = await self._steps.run_in_process(running, step, running.process, inputs)
            return redact_value(storable(result, None), running.secrets)  # that process has checked and written it
        if given is None:
            arguments = arguments_of(handler, params, running.job.params_version)
            values: tuple[Any, ...] = ()
            if (takes := handler.results) is not None:
                with running.paused_limit():
                    values = (await results_of(self._database, running.job, takes),)
            result = await self._steps.run(running, step, *values, **arguments)
        else:
            result = await self._steps.run(running, step, handler.handed_on(index, *given))
        stored = storable(result, handler.output_of(step))
        return redact_value(stored, running.secrets) if running.secrets else stored

    def _failed(self, running: Running, step: str, handler: Handler, error: BaseException | None) -> Outcome:
        if running.stop is StopReason.TIMEOUT:
            error = TimedOut("it ran longer than its time limit")
        outcome = outcomes.after_error(
            error,
            job=running.job,
            stop=running.stop,
            step=step,
            policy=handler.retry,
            secrets=running.secrets,
            chance=self._chance,
        )
        if outcome.error is not None and error is not None:
            self._log_error(running, step, error)
        return outcome

    def _log_error(self, running: Running, step: str, raised: BaseException) -> None:
        error = outcomes.cause_of(raised)
        if isinstance(error, HandlerError):
            texts = outcomes.code_of(error), outcomes.message_of(error)
            code, message = (redact(text, running.secrets) for text in texts)
            self._log.info("attempt failed", code=code, message=message, step=step)
        elif not isinstance(error, Unavailable):
            trace = redact("".join(traceback.format_exception(raised)).rstrip(), running.secrets)
            self._log.error("handler raised", step=step, exception=trace)

    def drain(self) -> None:
        """Hand back the jobs that wait for a thread."""
        self._steps.drain()

    async def close(self) -> None:
        """Start no further step, and kill the processes of running ones."""
        self._steps.close()
        await self._processes.close()


def _next_step(steps: tuple[Step, ...]) -> int:
    for step in steps:  # without a generator, which takes longer than the steps of most jobs
        if step.status is not StepStatus.SUCCEEDED:
            return step.index
    return len(steps)


def _steps_of(job: Job, handler: Handler) -> tuple[Step, ...] | None:
    """Return the job's steps; those of a newer handler if none has finished, and None if one has."""
    if [*map(_name, job.steps)] == [*map(_name, handler.steps)]:
        return job.steps
    if _next_step(job.steps):
        return None
    first, *rest = (Step(step.name, index) for index, step in enumerate(handler.steps))
    return (replace(first, status=StepStatus.RUNNING, started_at=job.attempts[-1].started_at), *rest)
