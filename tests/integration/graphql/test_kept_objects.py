"""Work leaves nothing behind: twice as many operations leave as many objects as once as many."""

import gc
from collections import Counter
from pathlib import Path
from typing import Any

from onward.testing import app
from onward.testing.app import TestApp
from tests.integration.graphql.test_handler_mutations import TABLES, send

OPERATIONS = 25
# Swept by their owners once there are some: sqlite3's dead references to cursors (200 a connection), asyncio's timers.
SWEPT = {"ReferenceType": 1_500, "TimerHandle": 150, "Context": 150}
PAGE = """query($first: Int) { jobs(first: $first) { nodes { id steps { status } attempts { error { code } } } }
    system { counts { count } queues { depth } } }"""
WRONG = "{ jobs(first: 1, last: 1) { nodes { id } } }"


async def work(shop: TestApp) -> None:
    for number in range(OPERATIONS):
        await send(shop, "countWords", text="a " * number)
        await shop.graphql(PAGE, first=number % 20)
        await shop.graphql(WRONG)


async def kept(shop: TestApp) -> Counter[Any]:
    await shop.onward.writer.run(lambda tx: tx.now)  # what waited for a commit is written
    gc.collect()
    return Counter(type(one).__qualname__ for one in gc.get_objects())


async def test_objects_do_not_grow_with_the_operations(tmp_path: Path) -> None:
    async with app.running("immediate", tmp_path, TABLES) as shop:
        await work(shop)  # fills the caches
        before = await kept(shop)
        await work(shop)
        await work(shop)
        grown = await kept(shop) - before
        left = {name: n for name, n in grown.items() if n >= SWEPT.get(name, 2 * OPERATIONS)}
        assert not left, grown.most_common(9)
