"""`steps.process_item`, step by step."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from handlers.steps import analyse, process_item, validate
from onward.handlers.base import Permanent

Run = Callable[..., Awaitable[list[Any]]]


async def test_each_step_returns_all_that_the_next_one_needs(run: Run, job: Any) -> None:
    text = "Grüße\tund\nein Wort"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    figures = {"characters": 18, "words": 4, "lines": 2, "sha256": sha256}
    assert await run(process_item, job, item=text) == [{"text": text}, {"text": text, **figures}, figures]
    assert job.resources.items.kept == {"job_1": {"text": text, **figures}}


async def test_text_is_kept_as_nfc(run: Run, job: Any) -> None:
    await run(process_item, job, item="u\u0308")
    assert job.resources.items.kept["job_1"]["text"] == "\u00fc"
    assert job.resources.items.kept["job_1"]["characters"] == 1


async def test_every_result_is_json(run: Run, job: Any) -> None:
    results = await run(process_item, job, item="\U0001f600 “quoted” \\ \r\n")
    assert json.loads(json.dumps(results)) == results


async def test_a_repeated_store_step_keeps_one_item(run: Run, job: Any) -> None:
    results = await run(process_item, job, item="once")
    store = process_item.steps[2].call
    assert await store(job, results[1]) == results[2]
    assert len(job.resources.items.kept) == 1


@pytest.mark.parametrize("character", ["\0", "\x07", "\x0b", "\x1b", "\x7f", "\x85", "\x9b"])
async def test_a_control_character_fails_for_good_with_the_reason(run: Run, job: Any, character: str) -> None:
    with pytest.raises(Permanent, match=rf"U\+{ord(character):04X} at position 3") as failed:
        await run(process_item, job, item=f"ab{character}c")
    assert failed.value.code == "INVALID_ITEM"
    assert job.resources.items.kept == {}


@pytest.mark.parametrize("item", ["a\tb", "a\nb", "a\r\nb", "a\rb", "\u200d", "\u2028b", "مرحبا"])
async def test_line_breaks_tabs_and_all_scripts_pass(run: Run, job: Any, item: str) -> None:
    await run(process_item, job, item=item)
    assert job.resources.items.kept["job_1"]["text"] == item


@pytest.mark.parametrize(("item", "lines"), [("a", 1), ("a\n", 1), ("a\nb", 2), ("a\r\nb\rc\n", 3), ("\n\na", 3)])
async def test_lines_are_counted_with_any_line_ending(run: Run, job: Any, item: str, lines: int) -> None:
    assert (await run(process_item, job, item=item))[-1]["lines"] == lines


async def test_an_empty_item_fails_for_good(job: Any) -> None:
    with pytest.raises(Permanent, match="empty"):
        await validate(job, item="")


async def test_white_space_is_an_item_of_no_words(job: Any) -> None:
    assert (await analyse(job, {"text": " \n\t"}))["words"] == 0
