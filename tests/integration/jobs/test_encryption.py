"""Secret parameters are readable only in the call of the handler."""

import asyncio
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from onward.backends.base import Role
from onward.cli import check
from onward.config.settings import Settings, SettingsError, load
from onward.handlers.base import InvalidParameters, Permanent
from onward.jobs import ledger, log_lines
from onward.jobs.encryption import Encryption, NoKey
from onward.jobs.log_level import LogLevel
from onward.jobs.model import Job
from onward.jobs.param_filter import ENCRYPTED
from onward.jobs.states import JobStatus
from onward.runtime import handlers, wiring
from tests import application
from tests.integration.jobs.secret_handlers import pay

CARD = "4242-4242-4242-4242"
KEY, OLDER = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def settings_with(folder: Path, *keys: str) -> Settings:
    application.write(folder)
    return load(folder, handlers={"modules": ["tests.integration.jobs.secret_handlers"]}, secrets={"keys": list(keys)})


async def run(onward: wiring.Runtime, handler: str, **params: Any) -> Job:
    new = onward.dispatcher.prepare(handler, params, owner=None)
    job = await onward.writer.run(lambda tx: onward.dispatcher.accept(tx, new))
    await onward.dispatcher.deliver([job], after_response=onward.dispatcher.defer)
    return await ended(onward, job.id)


async def ended(onward: wiring.Runtime, job_id: str) -> Job:
    async with asyncio.timeout(20):
        while True:
            job = await onward.database.read(lambda tx: ledger.get(tx, job_id))
            if job is not None and job.done:
                return job
            await asyncio.sleep(0.02)


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_secret_reaches_the_handler_and_nothing_else(tmp_path: Path) -> None:
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        job = await run(onward, "tests.pay", card=CARD, name="ada", limits={"day": 5000, "week": 9000})
        assert job.status is JobStatus.SUCCEEDED
        assert job.result == {"digits": len(CARD), "name": "ada", "limits": 14_000}
        assert job.params["name"] == "ada"
        assert job.params["card"].keys() == job.params["limits"].keys() == {ENCRYPTED}
        assert CARD not in repr(job)
        assert CARD.encode() not in written(tmp_path)


async def test_a_secret_that_cannot_be_stored_is_an_invalid_parameter(tmp_path: Path) -> None:
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        params = {"card": CARD, "name": "ada", "limits": {"day": 2**70}}
        with pytest.raises(InvalidParameters, match=r"limits\.day: is a number beyond 64 bits"):
            onward.dispatcher.prepare("tests.pay", params, owner=None)


async def test_the_secrets_of_a_dispatched_job_are_encrypted(tmp_path: Path) -> None:
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        job = await run(onward, "tests.both", card=CARD)
        assert job.result == len(CARD) + 1
        ids = await onward.database.read(lambda tx: [row[0] for row in tx.execute_once(_ids())])
        (child,) = set(ids) - {job.id}
        assert (await ended(onward, child)).result["digits"] == len(CARD)
        assert CARD.encode() not in written(tmp_path)


@pytest.mark.parametrize("handler", ["tests.show", pytest.param("tests.show_apart", marks=pytest.mark.long)])
async def test_a_secret_in_a_result_and_in_progress_is_redacted(tmp_path: Path, handler: str) -> None:
    """A message that is cut shows no part of it either."""
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        job = await run(onward, handler, card=CARD)
        assert job.result == {"paid with": ["card ***"], "***": len(CARD)}
        assert job.progress is not None
        assert job.progress.message == "x" * 490 + "***"
        assert CARD[:9] not in repr(job)
        assert CARD.encode() not in written(tmp_path)


@pytest.mark.parametrize("handler", ["tests.tell", pytest.param("tests.tell_apart", marks=pytest.mark.slow)])
async def test_a_secret_in_log_lines_is_redacted(tmp_path: Path, handler: str) -> None:
    """A line that is cut shows no part of it either."""
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        job = await run(onward, handler, card=CARD)
        assert job.status is JobStatus.SUCCEEDED
        lines = await onward.database.read(lambda tx: log_lines.newest(tx, job.id, 100))
        short, long = [line for line in lines if line.logger == "tests.integration.jobs.secret_handlers"]
        assert (short.text, short.level) == ("card *** of attempt 1", LogLevel.WARNING)
        assert long.text == f"{'x' * 3_960}***xxxxxxx ... (5023 characters left out) ... {'x' * 3_970}"
        assert CARD.encode() not in written(tmp_path)


@pytest.mark.parametrize("named", [False, True])
async def test_a_secret_is_passed_on_as_a_secret_only(tmp_path: Path, *, named: bool) -> None:
    """Neither in a text nor in the name of a member."""
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        job = await run(onward, "tests.pass_on", card=CARD, named=named)
        assert job.error is not None
        assert (job.error.code, job.status) == ("INVALID_PARAMETERS", JobStatus.FAILED)
        held = "limits" if named else "name"
        assert f"{held} holds a secret parameter of tests.pass_on" in job.error.message.replace(":", "")
        assert len(await onward.database.read(lambda tx: tx.execute_once(_ids()))) == 1
        assert CARD.encode() not in written(tmp_path)


def _ids() -> Any:
    import sqlalchemy as sa

    from onward.storage.tables import jobs

    return sa.select(jobs.c.id)


@pytest.mark.parametrize("kindly", [True, False])
async def test_a_secret_in_the_message_and_code_of_an_error_is_redacted(
    tmp_path: Path, *, kindly: bool, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        job = await run(onward, "tests.babble", card=CARD, kindly=kindly)
    assert job.error is not None
    if kindly:
        assert job.error.message == "the card *** was declined"
        assert [job.error.code, *(one.error.code for one in job.attempts if one.error)] == [f"{'X' * 90}***"] * 2
    output = "".join(capfd.readouterr()) + caplog.text  # log lines go to one of the two
    assert "***" in output
    assert CARD[:9] not in output + repr(job)
    assert CARD.encode() not in written(tmp_path)


@pytest.mark.slow
async def test_a_traceback_that_is_cut_shows_no_part_of_a_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with wiring.run_process(settings_with(tmp_path, KEY), Role.ACCEPT) as onward:
        job = await run(onward, "tests.babble_apart", card=CARD)
    assert job.status is JobStatus.FAILED
    output = "".join(capfd.readouterr()) + caplog.text
    assert "x" * 9_000 in output
    assert CARD[-5:] not in output


async def test_keys_are_changed_without_losing_a_job(tmp_path: Path) -> None:
    encrypted = Encryption([OLDER]).encrypt(pay, {"card": CARD, "name": "x", "limits": None})
    assert Encryption([KEY, OLDER]).decrypt(encrypted)[0] == {"card": CARD, "name": "x", "limits": None}
    newer = Encryption([KEY, OLDER]).encrypt(pay, {"card": CARD, "name": "x", "limits": None})
    assert Encryption([KEY]).decrypt(newer)[0]["card"] == CARD


@pytest.mark.parametrize("keys", [[], [KEY]])
def test_without_its_key_a_secret_fails_with_a_reason(keys: list[str]) -> None:
    encrypted = Encryption([OLDER]).encrypt(pay, {"card": CARD, "name": "x", "limits": None})
    with pytest.raises(Permanent, match="not among those") as unreadable:
        Encryption(keys).decrypt(encrypted)
    assert unreadable.value.code == "SECRET_UNREADABLE"


def test_a_handler_with_secrets_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match=r"tests.pay has secret parameters \(card, limits\), which need a key"):
        Encryption().encrypt(pay, {"card": CARD, "name": "x", "limits": None})


async def test_without_a_key_the_start_is_refused_with_a_reason(tmp_path: Path) -> None:
    """The command in it works as it is typed, wherever Onward is installed."""
    with pytest.raises(
        SettingsError, match=r"secrets.keys: tests.pay has secret .* need a key; make one by"
    ) as refused:
        async with wiring.run_process(settings_with(tmp_path), Role.ACCEPT):
            pass
    command = shlex.split(str(refused.value).partition("make one by: ")[2])
    made = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=True)
    Encryption([made.stdout.strip()])


def test_an_invalid_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, "hunter2hunter2")
    with pytest.raises(SettingsError, match=r"secrets.keys: each key must be 32 bytes") as refused:
        handlers.build_encryption(settings, {})
    assert "hunter2" not in str(refused.value) + repr(settings)
    findings = [finding for finding in check.findings(settings) if finding.part == "handlers"]
    assert [(finding.state.value, finding.fix) for finding in findings] == [("wrong", "correct secrets.keys")]


def test_a_parameter_in_the_form_of_an_encrypted_one_is_refused_from_outside() -> None:
    with pytest.raises(InvalidParameters, match="has the form of an encrypted value"):
        Encryption([KEY]).encrypt(pay, {"card": CARD, "name": {ENCRYPTED: "x"}, "limits": None})
