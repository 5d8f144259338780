"""Breaks of the runner, and of what handlers are given."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from tests.system.faults.broken import base


def steps_forgotten() -> None:
    """A job that goes on elsewhere begins at its first step."""
    from onward.jobs.model import Step
    from onward.jobs.runner import Runner

    def anew(execute: Any) -> Any:
        async def executed(self: Any, job: Any, **named: Any) -> None:
            steps = tuple(Step(step.name, step.index) for step in job.steps)
            await execute(self, replace(job, steps=steps), **named)

        return executed

    base.around(Runner, "execute", anew)


def chunks_of_now() -> None:
    """Of many further jobs of a step, those that are accepted later forget when the step ended."""
    from onward.jobs import dispatched
    from onward.jobs.model import NewJob

    base.put(dispatched, "NewJob", lambda **values: NewJob(**{**values, "created_at": None}))


def children_apart() -> None:
    """A job's further jobs are accepted whether or not its outcome is."""
    from onward.jobs.executor import Executor

    def apart(execute: Any) -> Any:
        async def executed(self: Any, running: Any) -> Any:
            found, completion = await execute(self, running), self._completion
            for child in running.children:
                await completion._writer.run(lambda tx, child=child: completion._enqueuer.accept(tx, child))
            running.children.clear()
            return found

        return executed

    base.around(Executor, "execute", apart)


def handler_missing_unsaid() -> None:
    """A job whose handler is gone runs into a KeyError."""
    from onward.jobs.executor import Executor

    def unsaid(execute: Any) -> Any:
        async def executed(self: Any, running: Any) -> Any:
            assert self._handlers[running.job.handler]
            return await execute(self, running)

        return executed

    base.around(Executor, "execute", unsaid)


def parameters_unchecked() -> None:
    """The handler is called with whatever stands in the ledger."""
    from onward.jobs import executor

    base.put(executor, "_arguments", lambda _handler, _job, params: params)


def failures_unrecorded() -> None:
    """An outcome is written where it is a good one."""
    from onward.jobs.completion import Completion
    from onward.jobs.states import JobStatus

    def only_good(record: Any) -> Any:
        async def recorded(self: Any, running: Any, steps: Any, outcome: Any) -> None:
            if outcome.status is not JobStatus.FAILED:
                await record(self, running, steps, outcome)

        return recorded

    base.around(Completion, "_record", only_good)


def no_retries() -> None:
    """The first failure is the last."""
    from onward.jobs import outcome
    from onward.jobs.states import JobStatus

    def final(after_error: Any) -> Any:
        def decided(error: Any, **named: Any) -> Any:
            found = after_error(error, **named)
            return replace(found, status=JobStatus.FAILED) if found.status is JobStatus.RETRYING else found

        return decided

    base.around(outcome, "after_error", final)


def waits_too_long() -> None:
    """The wait between attempts is twice the policy's longest, and no less."""
    from onward.jobs import outcome
    from onward.jobs.retry import ceiling

    base.put(outcome, "delay", lambda policy, attempt, _chance: ceiling(policy, attempt) * 2)


def one_attempt_more() -> None:
    """Attempts are counted from nought."""
    from onward.jobs import outcome

    def more(after_error: Any) -> Any:
        def decided(error: Any, *, job: Any, **named: Any) -> Any:
            return after_error(error, job=replace(job, max_attempts=job.max_attempts + 1), **named)

        return decided

    base.around(outcome, "after_error", more)


def permanent_retried() -> None:
    """An error that is for good is one like any other."""
    from onward.handlers.base import Permanent
    from onward.jobs import outcome

    class Never(Permanent):
        """Nobody raises it."""

    base.put(outcome, "Permanent", Never)


def words_as_they_are() -> None:
    """Messages of handlers are stored unchanged."""
    from onward.jobs import outcome, running

    base.put(outcome, "legible", lambda text: text)
    base.put(running, "legible", lambda text: text)
    base.put(running, "_clamp", int)


def exit_heeded() -> None:
    """A handler that wants to end its process does so."""
    import uvloop

    from onward.jobs import step_runner
    from onward.runtime.event_loop import Loop

    async def heeded(coroutine: Any) -> Any:
        return await coroutine

    base.put(step_runner, "_contain_async_exit", heeded)
    base.put(step_runner, "_contain_exit", lambda call: call())
    base.put(Loop, "run_forever", uvloop.Loop.run_forever)


def cancelled_for_good() -> None:
    """A task that a handler cancelled counts as the end of its process."""
    from asyncio import CancelledError

    from onward.jobs.step_runner import StepRunner

    def heeded(step: Any) -> Any:
        async def done(self: Any, running: Any, *arguments: Any, **named: Any) -> Any:
            try:
                return await step(self, running, *arguments, **named)
            except RuntimeError as error:
                if isinstance(error.__cause__, CancelledError):
                    raise error.__cause__ from None
                raise

        return done

    base.around(StepRunner, "run", heeded)


def never_killed() -> None:
    """The process of a handler is asked to end, and not killed."""
    from onward.jobs.step_process import StepProcess

    base.put(StepProcess, "kill", lambda _self: None)


def no_time_limit() -> None:
    """A handler may take as long as it likes."""
    from onward.jobs.step_runner import StepRunner

    def unlimited(step: Any) -> Any:
        async def done(self: Any, running: Any, *arguments: Any, **named: Any) -> Any:
            running.deadline = None
            return await step(self, running, *arguments, **named)

        return done

    base.around(StepRunner, "run", unlimited)


def results_as_text() -> None:
    """A result is kept as text."""
    from onward.jobs import executor

    base.put(executor, "storable", lambda value, _output: str(value))


def low_cap() -> None:
    """Results are capped at ten kilobytes."""
    from onward.jobs import results

    base.put(results, "RESULT_BYTES", 10_000)


def results_unchecked() -> None:
    """A result is looked at when it is written."""
    from onward.jobs import executor

    base.put(executor, "storable", lambda value, _output: value)


def no_polling() -> None:
    """A running job does not hear that somebody wants it cancelled."""
    from onward.jobs.control import Control

    async def nothing(self: Any) -> None:
        return

    base.put(Control, "_poll_cancellations", nothing)


def checks_nothing() -> None:
    """Only what waits can be stopped."""
    from onward.jobs.running import Running

    base.put(Running, "check", lambda _: None)


def plain_on_the_loop() -> None:
    """Plain functions run where async ones do."""
    from onward.jobs.step_threads import PlainCall, StepThreads

    def here(_self: Any, function: Any, on_begin: Any) -> PlainCall:
        call = PlainCall(function, on_begin)
        call.begin()
        call.run()()
        return call

    base.put(StepThreads, "submit", here)


def stops_at_once() -> None:
    """Running jobs are interrupted at once at a shutdown."""
    from onward.jobs.runner import Runner

    base.around(Runner, "drain", lambda drain: lambda self, _deadline_s: drain(self, 0.02))


def stops_dead() -> None:
    """A process that is asked to stop exits at once, as if it had been killed."""
    import os

    from onward.jobs.runner import Runner

    async def drain(self: Any, deadline_s: float) -> None:
        os._exit(0)

    base.put(Runner, "drain", drain)


def waits_for_all() -> None:
    """A process that is asked to stop waits for hanging threads, and for Redis without a timeout."""
    import os
    import sys
    import threading

    from tests.system.faults.broken.delivering import no_limits

    def waited_for(begin: Any) -> Any:
        def init(self: Any, *arguments: Any, daemon: bool = False, **named: Any) -> None:
            begin(self, *arguments, daemon=daemon and named.get("name") != "step", **named)

        return init

    no_limits()
    base.put(os, "_exit", sys.exit)
    base.around(threading.Thread, "__init__", waited_for)


def one_job_a_child() -> None:
    """Each isolated job starts its own process."""
    from onward.jobs.runner import Runner

    def ours(next_isolated: Any) -> Any:
        async def found(self: Any, backend: str) -> Any:
            return None if self._isolate is None else await next_isolated(self, backend)

        return found

    base.around(Runner, "next_isolated", ours)


def no_progress() -> None:
    """Progress is written only at a job's end."""
    from onward.jobs.progress import ProgressReporter

    base.put(ProgressReporter, "report", lambda *_: None)


def every_report_written() -> None:
    """Each report of progress is a commit."""
    base.timings(progress_interval_s=0.0)


def effect_first_lost() -> None:
    """A line counts as written before it is."""
    from onward.handlers.journal import JsonLines

    base.put(JsonLines, "append", lambda *_: None)


def mail_shrugged_off() -> None:
    """A mail server that does not answer is taken to have understood."""
    from onward.mail.smtp import MailUnavailable, SmtpMailer

    def shrugging(send: Any) -> Any:
        async def sent(self: Any, message: Any) -> None:
            with suppress(MailUnavailable):
                await send(self, message)

        return sent

    base.around(SmtpMailer, "send", shrugging)
