"""Breaks of the runner, and of what handlers get."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from tests.system.faults.broken import base


def steps_forgotten() -> None:
    """Begin a resumed job at its first step."""
    from onward.jobs.model import Step
    from onward.jobs.runner import Runner

    def anew(execute: Any) -> Any:
        async def executed(self: Any, job: Any, **named: Any) -> None:
            steps = tuple(Step(step.name, step.index) for step in job.steps)
            await execute(self, replace(job, steps=steps), **named)

        return executed

    base.around(Runner, "execute", anew)


def executed_twice() -> None:
    """Run each claimed job a second time."""
    from onward.jobs.runner import Runner

    def again(execute: Any) -> Any:
        async def executed(self: Any, job: Any, **named: Any) -> None:
            await execute(self, job, **named)
            await execute(self, job, **named)

        return executed

    base.around(Runner, "execute", again)


def payloads_untyped() -> None:
    """Hand the next step the payload of a signal as JSON."""
    from onward.handlers.waits import Wait

    base.put(Wait, "read", lambda _self, stored: stored)


def sleeps_hand_nothing_on() -> None:
    """Hand the step after a sleep the sleep's own result."""
    from onward.handlers.base import Handler

    base.put(Handler, "source_of", lambda _self, index: index - 1)


def waits_hold_slots() -> None:
    """Keep the slot of a job while it waits."""
    import asyncio

    from onward.jobs.runner import Runner

    def holding(execute: Any) -> Any:
        async def executed(self: Any, job: Any, **named: Any) -> None:
            await execute(self, job, **named)
            if len(job.steps) > 1:
                await asyncio.sleep(3600)

        return executed

    base.around(Runner, "execute", holding)


def chunks_of_now() -> None:
    """Forget when the step ended for those of its many children that are accepted later."""
    from onward.jobs import dispatched
    from onward.jobs.model import NewJob

    base.put(dispatched, "NewJob", lambda **values: NewJob(**{**values, "created_at": None}))


def chunks_apart() -> None:
    """Of many further jobs of a step, a chunk is deleted one transaction before it becomes jobs."""
    from onward.jobs import dispatched

    def separately(expand: Any) -> Any:
        held: list[Any] = []

        def hold(_tx: Any, new: Any) -> Any:
            held.append(new)
            return new

        def expanded(tx: Any, *arguments: Any, insert: Any, **named: Any) -> Any:
            jobs = [insert(tx, new) for new in held]
            held.clear()
            found = expand(tx, *arguments, insert=hold, **named)
            return found._replace(jobs=jobs) if found else dispatched.Expanded("", jobs, []) if jobs else None

        return expanded

    base.around(dispatched, "expand", separately)


def children_apart() -> None:
    """Accept a job's children whether or not its outcome is accepted."""
    from onward.jobs.executor import Executor

    def separately(execute: Any) -> Any:
        async def executed(self: Any, running: Any) -> Any:
            found, completion = await execute(self, running), self._completion
            for child in running.children:
                await completion._writer.run(lambda tx, child=child: completion._enqueuer.accept(tx, child))
            running.children.clear()
            return found

        return executed

    base.around(Executor, "execute", separately)


def lifespan_not_entered() -> None:
    """Run jobs without the project's lifespan."""
    from onward.runtime import wiring

    base.put(wiring, "lifespan", lambda *_: nullcontext())


def lifespan_left_at_once() -> None:
    """Leave the project's lifespan before the first job."""
    from onward.runtime import wiring

    def short(lifespan: Any) -> Any:
        @asynccontextmanager
        async def left(*given: Any) -> AsyncIterator[Any]:
            async with lifespan(*given) as found:
                pass
            yield found

        return left

    base.around(wiring, "lifespan", short)


def handler_missing_unsaid() -> None:
    """Let a job without its handler run into a KeyError."""
    from onward.jobs.executor import Executor

    def without_check(execute: Any) -> Any:
        async def executed(self: Any, running: Any) -> Any:
            assert self._handlers[running.job.handler]
            return await execute(self, running)

        return executed

    base.around(Executor, "execute", without_check)


def parameters_unchecked() -> None:
    """Call the handler with unchecked parameters."""
    from onward.jobs import executor

    base.put(executor, "arguments_of", lambda _handler, params, _version: params)


def failures_unrecorded() -> None:
    """Write good outcomes only."""
    from onward.jobs.completion import Completion
    from onward.jobs.states import JobStatus

    def only_good(record: Any) -> Any:
        async def recorded(self: Any, running: Any, steps: Any, outcome: Any) -> None:
            if outcome.status is not JobStatus.FAILED:
                await record(self, running, steps, outcome)

        return recorded

    base.around(Completion, "_record", only_good)


def no_retries() -> None:
    """Make the first failure the last."""
    from onward.jobs import outcome
    from onward.jobs.states import JobStatus

    def final(after_error: Any) -> Any:
        def decided(error: Any, **named: Any) -> Any:
            found = after_error(error, **named)
            return replace(found, status=JobStatus.FAILED) if found.status is JobStatus.RETRYING else found

        return decided

    base.around(outcome, "after_error", final)


def waits_too_long() -> None:
    """Wait between attempts for at least twice the policy's longest delay."""
    from onward.jobs import outcome
    from onward.jobs.retry import ceiling

    base.put(outcome, "delay", lambda policy, attempt, _chance: ceiling(policy, attempt) * 2)


def one_attempt_more() -> None:
    """Count attempts from zero."""
    from onward.jobs import outcome

    def more(after_error: Any) -> Any:
        def decided(error: Any, *, job: Any, **named: Any) -> Any:
            return after_error(error, job=replace(job, max_attempts=job.max_attempts + 1), **named)

        return decided

    base.around(outcome, "after_error", more)


def permanent_retried() -> None:
    """Retry an error that is permanent."""
    from onward.handlers.base import Permanent
    from onward.jobs import outcome

    class Never(Permanent):
        """An error that is never raised."""

    base.put(outcome, "Permanent", Never)


def delays_ignored() -> None:
    """Treat the delay that a handler chooses as any other error."""
    from onward.handlers.base import RetryIn
    from onward.jobs import outcome

    class Never(RetryIn):
        """An error that is never raised."""

    base.put(outcome, "RetryIn", Never)


def classes_ignored() -> None:
    """Give every error the policy of the handler."""
    from onward.jobs import outcome

    base.put(outcome, "rule_for", lambda policy, _errors: policy)


def failures_unnoticed() -> None:
    """Make no job of a failure."""
    from onward.jobs import on_failure

    base.put(on_failure, "prepared", lambda _job, outcome, _enqueuer: (outcome, None))


def failures_apart() -> None:
    """Accept the job of a failure one transaction before the failure."""
    from onward.jobs import on_failure
    from onward.jobs.completion import Completion

    prepared = on_failure.prepared

    def separately(record: Any) -> Any:
        async def recorded(self: Any, running: Any, steps: Any, outcome: Any) -> None:
            outcome, notice = prepared(running.job, outcome, self._enqueuer)
            if notice is not None:
                await self._writer.run(lambda tx: self._enqueuer.accept(tx, notice))
            await record(self, running, steps, outcome)

        return recorded

    base.around(Completion, "_record", separately)
    failures_unnoticed()


def every_end_noticed() -> None:
    """Make a job of every end of an attempt."""
    from onward.jobs import on_failure
    from onward.jobs.model import JobError

    def notice(job: Any, outcome: Any, enqueuer: Any) -> Any:
        if job.on_failure is None:
            return outcome, None
        error = outcome.error or JobError("NONE", "none", False, None, 0)
        return outcome, enqueuer.prepare_on_failure(job, error)

    base.put(on_failure, "prepared", notice)


def refusals_raised() -> None:
    """Let a refused job of a failure keep the failure from being written."""
    from onward.jobs import on_failure
    from onward.jobs.states import JobStatus

    def unguarded(job: Any, outcome: Any, enqueuer: Any) -> Any:
        failed = job.on_failure is not None and outcome.status is JobStatus.FAILED
        return outcome, enqueuer.prepare_on_failure(job, outcome.error) if failed else None

    base.put(on_failure, "prepared", unguarded)


def words_as_they_are() -> None:
    """Store messages of handlers unchanged."""
    from onward.jobs import outcome, running

    base.put(outcome, "without_surrogates", lambda text: text)
    base.put(running, "without_surrogates", lambda text: text)
    base.put(running, "_clamp", int)


def exit_heeded() -> None:
    """Let a handler end its process."""
    import uvloop

    from onward.jobs import step_runner
    from onward.runtime.event_loop import Loop

    async def heeded(coroutine: Any) -> Any:
        return await coroutine

    base.put(step_runner, "_contain_async_exit", heeded)
    base.put(step_runner, "_contain_exit", lambda call: call())
    base.put(Loop, "run_forever", uvloop.Loop.run_forever)


def cancelled_for_good() -> None:
    """Treat a task that a handler cancelled as the end of its process."""
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
    """Ask the process of a handler to end, and never kill it."""
    from onward.jobs.step_process import StepProcess

    base.put(StepProcess, "kill", lambda _self: None)


def no_time_limit() -> None:
    """Let a handler run without a time limit."""
    from onward.jobs.step_runner import StepRunner

    def unlimited(step: Any) -> Any:
        async def done(self: Any, running: Any, *arguments: Any, **named: Any) -> Any:
            running.deadline = None
            return await step(self, running, *arguments, **named)

        return done

    base.around(StepRunner, "run", unlimited)


def results_as_text() -> None:
    """Store a result as text."""
    from onward.jobs import executor

    base.put(executor, "storable", lambda value, _output: str(value))


def low_cap() -> None:
    """Cap results at ten kilobytes."""
    from onward.jobs import results

    base.around(results, "RESULT", lambda result: result._replace(bytes=10_000))


def results_unchecked() -> None:
    """Check a result only when it is written."""
    from onward.jobs import executor

    base.put(executor, "storable", lambda value, _output: value)


def no_polling() -> None:
    """Do not tell a running job that it is being cancelled."""
    from onward.jobs.control import Control

    async def nothing(self: Any) -> None:
        return

    base.put(Control, "_poll_cancellations", nothing)


def checks_nothing() -> None:
    """Stop only jobs that wait."""
    from onward.jobs.running import Running

    base.put(Running, "check", lambda _: None)


def plain_on_the_loop() -> None:
    """Run plain functions on the event loop."""
    from onward.jobs.step_threads import PlainCall, StepThreads

    def here(_self: Any, function: Any, on_begin: Any) -> PlainCall:
        call = PlainCall(function, on_begin)
        call.begin()
        call.run()()
        return call

    base.put(StepThreads, "submit", here)


def stops_at_once() -> None:
    """Interrupt running jobs at once at a shutdown."""
    from onward.jobs.runner import Runner

    base.around(Runner, "drain", lambda drain: lambda self, _deadline_s: drain(self, 0.02))


def stops_dead() -> None:
    """Exit at once on a stop, as if killed."""
    import os

    from onward.jobs.runner import Runner

    async def drain(self: Any, deadline_s: float) -> None:
        os._exit(0)

    base.put(Runner, "drain", drain)


def waits_for_all() -> None:
    """Wait on a stop for hanging threads, and for Redis without a timeout."""
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
    """Start a process for each isolated job."""
    from onward.jobs.runner import Runner

    def ours(next_isolated: Any) -> Any:
        async def found(self: Any, backend: str) -> Any:
            return None if self._isolate is None else await next_isolated(self, backend)

        return found

    base.around(Runner, "next_isolated", ours)


def no_progress() -> None:
    """Write progress only at a job's end."""
    from onward.jobs.progress import ProgressReporter

    base.put(ProgressReporter, "report", lambda *_: None)


def every_report_written() -> None:
    """Commit each report of progress."""
    base.timings(progress_interval_s=0.0)


def effect_first_lost() -> None:
    """Report a line as written before it is."""
    from onward.handlers.journal import JsonLines

    base.put(JsonLines, "append", lambda *_: None)


def mail_shrugged_off() -> None:
    """Treat a mail server without an answer as successful."""
    from onward.mail.smtp import MailUnavailable, SmtpMailer

    def shrugging(send: Any) -> Any:
        async def sent(self: Any, message: Any) -> None:
            with suppress(MailUnavailable):
                await send(self, message)

        return sent

    base.around(SmtpMailer, "send", shrugging)
