"""Admins pause and resume handlers, and see the person who paused."""

from pathlib import Path

from tests.integration.graphql.conftest import running, settings_in, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header, process

HANDLER = "steps.process_item"
PAUSE = (
    "mutation($h: String!) { pauseHandler(input: {handler: $h}) { paused { handler since by } errors { code path } } }"
)
RESUME = "mutation($h: String!) { resumeHandler(input: {handler: $h}) { handler errors { code path } } }"
PAUSED = "{ system { paused { handler since by } } }"
JOB = "query($id: ID!) { job(id: $id) { status waitingFor } }"
PROCESS = 'mutation { processItem(input: {item: "words"}) { job { id } } }'


async def test_a_paused_handler_s_job_waits_for_it_to_be_resumed(tmp_path: Path) -> None:
    """A second pause and a second resume change nothing."""
    async with running(settings_in(tmp_path)) as api:
        paused = (await api.data(PAUSE, h=HANDLER))["pauseHandler"]
        assert (await api.data(PAUSE, h=HANDLER))["pauseHandler"] == paused
        assert paused["errors"] == []
        assert (await api.data(PAUSED))["system"]["paused"] == [paused["paused"]]
        job = (await api.data(PROCESS))["processItem"]["job"]["id"]

        async def is_named() -> bool:
            found = (await api.data(JOB, id=job))["job"]
            return bool(found == {"status": "QUEUED", "waitingFor": f"the handler {HANDLER} to be resumed"})

        await until(is_named)
        for _ in range(2):
            assert (await api.data(RESUME, h=HANDLER))["resumeHandler"] == {"handler": HANDLER, "errors": []}

        async def done() -> bool:
            return bool((await api.data(JOB, id=job))["job"]["status"] == "SUCCEEDED")

        await until(done)
        assert (await api.data(PAUSED))["system"]["paused"] == []


async def test_an_unknown_handler_is_reported(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        for query, field in ((PAUSE, "pauseHandler"), (RESUME, "resumeHandler")):
            (error,) = (await api.data(query, h="conformance.none"))[field]["errors"]
            assert error == {"code": "NOT_FOUND", "path": ["handler"]}


async def test_only_admins_pause_and_resume_and_see_the_person_who_paused(tmp_path: Path) -> None:
    async with behind_tokens(tmp_path) as api:
        for query, field in ((PAUSE, "pauseHandler"), (RESUME, "resumeHandler")):
            for who in (header("ada"), {}):
                (error,) = (await ask(api, who, query, h=HANDLER))["data"][field]["errors"]
                assert error["code"] == "NOT_ALLOWED"
        paused = (await ask(api, header("root", "admin"), PAUSE, h=HANDLER))["data"]["pauseHandler"]["paused"]
        assert (paused["handler"], paused["by"]) == (HANDLER, "root")
        job = await process(api, header("ada"))
        assert (await ask(api, header("ada"), PAUSED))["data"]["system"]["paused"] == []
        assert (await ask(api, header("ada"), JOB, id=job))["data"]["job"]["status"] == "QUEUED"
