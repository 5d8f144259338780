"""The budget of an answer in values and bytes, and fair turns between callers."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from onward.dispatch.schedules import Schedules
from onward.graphql import fair_queue, meter
from onward.graphql.context import Context, Info
from onward.graphql.execution.costs import PAGE
from onward.graphql.fair_queue import FairQueue, FairSlots, LoopScheduler
from onward.graphql.resolvers import subscription
from onward.graphql.viewer import Viewer
from onward.jobs import ledger
from onward.jobs.model import NewJob
from onward.jobs.schedule_entry import Entry
from onward.storage import tables
from onward.storage.tables import jobs as table
from onward.storage.transaction import Tx
from tests.integration.graphql.conftest import Api, running, settings_in

BUDGET = 400_000  # bytes
RESULT = "x" * 3_000
SWELLING = (
    "{ "
    + " ".join(f"a{n}: jobs(first: 40) {{ nodes {{ result }} edges {{ node {{ result }} }} }}" for n in range(15))
    + "}"
)


def filled(tx: Tx, count: int, result: Any) -> None:
    for _ in range(count):
        ledger.accept(
            tx,
            NewJob("item.process", "background", params="{}", params_version=1, steps='[{"n": "one"}]', max_attempts=1),
        )
    tx.flush()
    values = {"result": json.dumps(result), "status": "SUCCEEDED", "finished_at": tx.now}
    tx.execute_once(sa.update(table).values(**values).returning(table.c.id))


@pytest.fixture(scope="module")
async def full(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """An API whose answers have a small budget, and 40 jobs with results."""
    limits = {"answer_bytes": BUDGET, "answer_values": 5_000}
    async with running(settings_in(tmp_path_factory.mktemp("full"), gql={"limits": limits})) as api:
        await api.app.state.onward.writer.run(partial(filled, count=40, result=RESULT))
        yield api


async def code(api: Api, query: str, **variables: Any) -> str:
    return str((await api.errors(query, **variables))[0]["extensions"]["code"])


async def test_a_page_within_the_budget_is_answered(full: Api) -> None:
    data = await full.data("{ jobs(first: 40) { nodes { id result steps { name } attempts { number } } } }")
    assert [job["result"] for job in data["jobs"]["nodes"]] == [RESULT] * 40


async def test_an_answer_past_its_budget_is_a_typed_error_and_takes_little_memory(full: Api) -> None:
    await code(full, SWELLING)  # fills the caches
    tracemalloc.start()
    try:
        assert await code(full, SWELLING) == "ANSWER_TOO_LARGE"
        assert tracemalloc.get_traced_memory()[1] < 4 * BUDGET
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("field", ["result waitingFor", "result @include(if: true)"])
async def test_the_budget_holds_for_fields_with_resolvers(full: Api, field: str) -> None:
    aliased = " ".join(
        f"a{n}: jobs(first: 10) {{ nodes {{ {field} }} edges {{ node {{ {field} }} }} }}" for n in range(9)
    )
    assert await code(full, f"{{ {aliased} }}") == "ANSWER_TOO_LARGE"


@pytest.mark.parametrize(
    "query", ["a{n}: jobs(first: 200) {{ nodes {{ id }} }}", "a{n}: jobs(last: $n) {{ nodes {{ id }} }}"]
)
async def test_an_operation_that_asks_for_too_much_is_refused_before_anything_is_read(full: Api, query: str) -> None:
    fields = " ".join(query.format(n=n) + " " + query.format(n=f"{n}b").replace("id", "id handler") for n in range(7))
    named = "query($n: Int) " if "$n" in query else ""
    assert await code(full, f"{named}{{ {fields} }}", n=200) == "TOO_COMPLEX"
    assert (
        "errors"
        not in (await full.post({"query": f"{named}{{ {fields.replace('200', '2')} }}", "variables": {"n": 2}})).json()
    )


@pytest.mark.parametrize("given", [{}, {"n": 2}, {"n": 200}])
async def test_a_variable_that_is_not_given_counts_as_its_default(full: Api, given: dict[str, int]) -> None:
    """The variable's own value counts where it is given."""
    fields = " ".join(f"a{n}: jobs(first: $n) {{ nodes {{ id handler }} }}" for n in range(14))
    body = {"query": f"query($n: Int = {202 - given.get('n', 2)}) {{ {fields} }}", "variables": given}
    errors = (await full.post(body)).json().get("errors", [])
    assert [error["extensions"]["code"] for error in errors] == ([] if given == {"n": 2} else ["TOO_COMPLEX"])


async def test_a_page_without_a_length_counts_as_the_usual_one(full: Api) -> None:
    fields = " ".join(f"a{n}: jobs {{ nodes {{ id handler status version backend }} }}" for n in range(15))
    assert 15 * PAGE * 6 < 5_000
    assert "errors" not in (await full.post({"query": f"{{ {fields} }}"})).json()
    assert await code(full, f"{{ {fields.replace('backend', 'backend done maxAttempts')} }}") == "TOO_COMPLEX"


async def test_results_of_many_small_values_are_counted_before_they_are_decoded(full: Api) -> None:
    await full.app.state.onward.writer.run(partial(filled, count=0, result=[[]] * 300))
    try:
        assert await code(full, "{ jobs(first: 40) { nodes { id result } } }") == "ANSWER_TOO_LARGE"
        assert "errors" not in (await full.post({"query": "{ jobs(first: 5) { nodes { result } } }"})).json()
        assert "errors" not in (await full.post({"query": "{ jobs(first: 40) { nodes { id } } }"})).json()
    finally:
        await full.app.state.onward.writer.run(partial(filled, count=0, result=RESULT))


@pytest.mark.parametrize("directive", ["", "@include(if: true)"], ids=["compiled", "graphql-core"])
@pytest.mark.parametrize(
    ("query", "most"),
    [
        ("{ numbers(count: $n) DIRECTIVE }", 5_000),
        ("{ series(count: $n) { numbers DIRECTIVE } }", 4_950),
        ("{ series(count: $n) { names DIRECTIVE } }", 2_450),
    ],
)
async def test_the_items_of_a_list_count_whatever_they_are(full: Api, query: str, most: int, directive: str) -> None:
    """Numbers and nulls, too, each of them once."""
    asked = f"query($n: Int!) {query.replace('DIRECTIVE', directive)}"
    for count, codes in ((most, set()), (most + 100, {"ANSWER_TOO_LARGE"}), (200_000, {"ANSWER_TOO_LARGE"})):
        answer = (await full.post({"query": asked, "variables": {"n": count}})).json()
        assert {error["extensions"]["code"] for error in answer.get("errors", [])} == codes


@pytest.mark.parametrize("field", ["id", "id waitingFor"])
async def test_a_long_page_gives_the_loop_back_between_its_jobs(
    full: Api, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "SLICE_S", 0.0)
    rests = 0

    async def rest(self: meter.Meter) -> None:
        nonlocal rests
        rests += 1
        await asyncio.sleep(0)

    monkeypatch.setattr(meter.Meter, "rest", rest)
    await full.data(f"{{ jobs(first: 40) {{ nodes {{ {field} }} }} }}")
    assert rests >= 40


async def test_a_caller_that_used_much_waits_for_one_that_used_little() -> None:
    queue = FairQueue()
    order: list[str] = []

    async def wait(caller: str) -> None:
        await queue.add(caller)
        order.append(caller)

    waiting = [asyncio.create_task(wait(caller)) for caller in ("much", "much", "much", "little", "new")]
    await asyncio.sleep(0)
    queue.charge("much", 1.0)
    for _ in range(5):
        caller = queue.next()
        assert caller is not None
        queue.charge(caller, 0.5 if caller != "new" else 0.0)
    await asyncio.gather(*waiting)
    assert order == ["much", "little", "new", "much", "much"]
    assert queue.next() is None


async def test_the_loop_is_given_to_one_slice_in_each_of_its_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "SLICE_S", -1.0)  # a slice is over at once
    shares, at = LoopScheduler(), 0
    seen: list[tuple[str, int]] = []

    async def count() -> None:
        nonlocal at
        while True:
            at += 1
            await asyncio.sleep(0)

    async def work(caller: str, slices: int) -> None:
        for _ in range(slices):
            await shares.turn(caller)
            seen.append((caller, at))

    counting = asyncio.create_task(count())
    many = [asyncio.create_task(work("much", 3)) for _ in range(20)]
    await asyncio.sleep(0)
    await work("little", 2)
    assert len(seen) < 10  # of 60 slices
    await asyncio.gather(*many)
    counting.cancel()
    iterations = [number for _, number in seen]
    assert all(iterations.count(number) <= 2 for number in set(iterations))


async def test_long_answers_of_one_caller_are_built_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """If they took turns, all would be half done, and in memory. Her short ones, and others' answers, do not wait."""
    monkeypatch.setattr(fair_queue, "SLICE_S", -1.0)  # a slice is over at once
    shares, ended = meter.Shares(), list[str]()
    half_done, most = 0, 0

    async def answer(caller: str, name: str, turns: int) -> None:
        nonlocal half_done, most
        budget = meter.Meter(caller=caller, shares=shares)
        for turn in range(turns):
            await budget.rest()
            half_done += turn == meter.SHORT_TURNS
            most = max(most, half_done)
        half_done -= turns > meter.SHORT_TURNS
        ended.append(name)

    long = [asyncio.create_task(answer("ann", f"long {n}", 20)) for n in range(9)]
    while half_done == 0:
        await asyncio.sleep(0)
    await asyncio.gather(answer("ann", "short", meter.SHORT_TURNS), answer("ben", "other", 5))
    assert len(ended) <= 3
    await asyncio.gather(*long)
    assert [name for name in ended if name.startswith("long")] == [f"long {n}" for n in range(9)]
    assert most == 2, "one of each caller"


async def test_a_long_answer_is_built_beside_ever_new_short_ones_of_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of a subscription is one: a client that follows many jobs would wait for its page without end."""
    monkeypatch.setattr(fair_queue, "SLICE_S", -1.0)  # a slice is over at once
    shares, turns = meter.Shares(), 0

    async def short() -> None:
        nonlocal turns
        while True:
            await meter.Meter(caller="ann", shares=shares).rest()
            turns += 1

    many = [asyncio.create_task(short()) for _ in range(9)]
    long = meter.Meter(caller="ann", shares=shares)
    async with asyncio.timeout(30):
        for _ in range(50):
            await long.rest()
    for one in many:
        one.cancel()
    assert 40 <= turns <= 60, "they take turns"


async def test_a_subscription_to_many_changes_leaves_others_their_turns() -> None:
    """Changes that are there already are not waited for, and a socket is written to without a wait, too."""
    turns = 0

    @subscription
    async def changes(info: Info) -> AsyncGenerator[int, None]:
        for number in range(30):
            yield number

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def work() -> None:
        time.sleep(0.003)  # longer than a slice

    counting = asyncio.create_task(count())
    services: Any = None
    info: Any = SimpleNamespace(context=Context(services, Viewer("ann"), meter=meter.Meter()))
    async for _ in changes(info):
        work()
    counting.cancel()
    assert turns > 20


async def test_a_slot_goes_to_the_next_caller_even_if_one_gave_up() -> None:
    slots = FairSlots(1)
    order: list[str] = []

    async def work(caller: str) -> None:
        order.append(caller)
        await asyncio.sleep(0)

    async def hold(caller: str) -> None:
        await slots.run(caller, partial(work, caller))

    async def compete() -> list[asyncio.Task[None]]:
        gone = asyncio.create_task(hold("gone"))
        waiting = [asyncio.create_task(hold(caller)) for caller in ("much", "much", "little")]
        await asyncio.sleep(0)
        gone.cancel()
        return waiting

    await asyncio.gather(*await slots.run("first", compete))
    assert sorted(order) == ["little", "much", "much"]
    assert order[-1] == "much"
    await hold("again")


async def test_work_keeps_its_slot_when_its_caller_is_cancelled() -> None:
    """A caller that begins work and leaves, over and over, has one piece of it under way, as all others have."""
    slots, go = FairSlots(1), asyncio.Event()
    started, ended = 0, 0

    async def work() -> None:
        nonlocal started, ended
        started += 1
        await go.wait()
        ended += 1

    for _ in range(5):
        gone = asyncio.create_task(slots.run("impatient", work))
        await asyncio.sleep(0.001)  # begins the work if it may
        gone.cancel()
        await asyncio.wait((gone,))
    assert (started, ended) == (1, 0)
    go.set()
    async with asyncio.timeout(30):
        await slots.run("patient", work)
    assert (started, ended) == (2, 2)


async def test_a_slot_is_free_again_after_work_that_cannot_begin() -> None:
    slots = FairSlots(1)

    def fails() -> Awaitable[None]:
        raise LookupError

    async def works() -> int:
        return 1

    for _ in range(2):
        with pytest.raises(LookupError):
            await slots.run("a", fails)
    async with asyncio.timeout(30):
        assert await slots.run("a", works) == 1


def test_a_caller_that_was_alone_is_not_behind_a_newcomer() -> None:
    """Use of an idle server costs nobody a turn, and is not remembered."""
    queue = FairQueue()
    for n in range(20_000):
        queue.charge("friend", 0.002)
        queue.charge(f"passer-by {n}", 0.002)
    assert not queue._clocks


@pytest.mark.parametrize("kind", ["query", "subscription"])
async def test_a_socket_that_nobody_reads_holds_few_answers(full: Api, kind: str) -> None:
    """Of ten simultaneous operations three have an answer; the others get theirs once those are read."""
    [job] = (await full.data("{ jobs(first: 1) { nodes { id } } }"))["jobs"]["nodes"]
    query = f'{{ job(id: "{job["id"]}") {{ result }} }}'
    if kind == "subscription":
        query = f'subscription {{ jobUpdated(id: "{job["id"]}") {{ result }} }}'
    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "websocket.connect"})
    payload = {"query": query}
    texts = [{"type": "connection_init"}, *({"type": "subscribe", "id": str(n), "payload": payload} for n in range(10))]
    for text in texts:
        messages.put_nowait({"type": "websocket.receive", "text": json.dumps(text)})
    is_read, held, completed = asyncio.Event(), 0, 0

    async def send(message: Any) -> None:
        nonlocal held, completed
        completed += '"complete"' in message.get("text", "")
        if '"next"' in message.get("text", ""):
            held += 1
            await is_read.wait()

    scope = {"type": "websocket", "path": "/graphql", "root_path": "", "query_string": b"", "client": ("127.0.0.1", 5)}
    scope |= {"headers": [(b"host", b"localhost")], "subprotocols": ["graphql-transport-ws"], "scheme": "ws"}
    serving = asyncio.create_task(full.app(scope, messages.get, send))
    async with asyncio.timeout(30):
        while held < 3 or messages.qsize():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # in which more would come
        assert (held, completed) == (3, 0)
        is_read.set()
        while completed < 10:
            await asyncio.sleep(0.01)
        messages.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await serving
    assert held == 10


def scheduled(tx: Tx, schedules: Schedules, entry: Entry) -> None:
    """Make 40 schedules, whose last jobs are those of the ledger."""
    ids = [job_id for (job_id,) in tx.execute_once(sa.select(table.c.id).limit(40))]
    for job_id in ids:
        schedules.create(tx, entry._replace(name=f"of {job_id}"), by=None)
        named = tables.schedules.c.name == f"of {job_id}"
        tx.execute_once(
            sa.update(tables.schedules).where(named).values(last_job=job_id).returning(tables.schedules.c.name)
        )


async def test_the_last_jobs_of_schedules_are_read_within_the_budget(full: Api) -> None:
    """Each of these fields reads 360 kB."""
    onward = full.app.state.onward
    entry = onward.schedules.entry("x", "steps.process_item", {"item": "x"}, "0 7 1 1 *")
    await onward.writer.run(lambda tx: scheduled(tx, onward.schedules, entry))
    await onward.writer.run(partial(filled, count=0, result="x" * 9_000))
    fields = " ".join(f"a{n}: system {{ schedules(first: 40) {{ lastJob {{ result }} }} }}" for n in range(15))
    try:
        assert await code(full, f"{{ {fields} }}") == "ANSWER_TOO_LARGE"
        tracemalloc.start()
        assert await code(full, f"{{ {fields} }}") == "ANSWER_TOO_LARGE"
        assert tracemalloc.get_traced_memory()[1] < 4 * BUDGET
    finally:
        tracemalloc.stop()
        await onward.writer.run(partial(filled, count=0, result=RESULT))
    assert await code(full, f"{{ {fields.replace('(first: 40)', '')} }}") == "TOO_COMPLEX"
