"""A flood is served a few pieces at a time."""

import asyncio

from onward.api.fair_scheduler import FairScheduler


async def turn() -> None:
    await asyncio.sleep(0)


async def test_each_loop_iteration_runs_a_few_callers_in_order() -> None:
    scheduler, on = FairScheduler(3), []
    for number in range(8):
        scheduler.call(lambda number=number: on.append(number))  # type: ignore[misc]
    seen = []
    while len(on) < 8:
        await turn()
        seen.append(len(on))
    steps = [after - before for before, after in zip([0, *seen], seen, strict=False)]
    assert max(steps) == 3
    assert on == list(range(8))


async def test_a_repeated_request_comes_after_waiting_ones() -> None:
    scheduler, on = FairScheduler(1), []

    async def flood(name: str) -> None:
        for _ in range(3):
            await scheduler.turn()
            on.append(name)

    await asyncio.gather(flood("a"), flood("b"))
    assert on == ["a", "b"] * 3


async def test_a_cancelled_waiter_uses_up_no_turn() -> None:
    scheduler = FairScheduler(1)
    gone = [asyncio.create_task(scheduler.turn()) for _ in range(3)]
    await turn()
    for task in gone:
        task.cancel()
    async with asyncio.timeout(20):
        await scheduler.turn()


async def test_an_exception_stops_no_other_waiter() -> None:
    scheduler, reported = FairScheduler(4), []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))

    def wrong() -> None:
        raise ValueError

    scheduler.call(wrong)
    scheduler.call(wrong)
    async with asyncio.timeout(20):
        await scheduler.turn()
    assert [type(error) for error in reported] == [ValueError, ValueError]
