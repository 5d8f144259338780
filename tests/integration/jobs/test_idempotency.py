"""Idempotency keys: one answer for each key, also for two simultaneous processes."""

from __future__ import annotations

import asyncio
import re
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward.jobs import idempotency, ledger
from onward.jobs.base import KeyReused
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept, note_statements, writing

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
inputs = st.dictionaries(st.text(max_size=4), json, max_size=4)


@pytest.mark.parametrize("examples", [25, pytest.param(100, marks=pytest.mark.long)])
def test_a_fingerprint_depends_on_the_whole_input(examples: int) -> None:
    """Fingerprints are equal for equal values in any order, and differ for others."""

    @settings(max_examples=examples, deadline=None)
    @given(inputs, inputs)
    def holds(one: dict[str, object], other: dict[str, object]) -> None:
        assert idempotency.fingerprint(one) == idempotency.fingerprint(dict(reversed(one.items())))
        same = repr(sorted(one.items(), key=repr)) == repr(sorted(other.items(), key=repr))
        if not same and one != other:
            assert idempotency.fingerprint(one) != idempotency.fingerprint(other)

    holds()


def mutate(
    tx: Tx, key: str, *, viewer: str = "ann", mutation: str = "send", fingerprint: str = "f"
) -> tuple[str, bool]:
    """Do the work of a mutation; return the id of the job, and whether it is a replay."""
    names = {"viewer": viewer, "mutation": mutation, "key": key, "fingerprint": fingerprint}
    found = idempotency.replay(tx, **names)
    if found is not None:
        return found["job"], True
    job = accept(tx)
    idempotency.remember(tx, **names, reference={"job": job.id})
    return job.id, False


def test_the_same_key_and_input_give_the_same_job(writer: Writer) -> None:
    first, replayed = writer.run_sync(lambda tx: mutate(tx, "k"))
    assert not replayed
    assert writer.run_sync(lambda tx: mutate(tx, "k")) == (first, True)


def test_the_same_key_with_another_input_is_refused(writer: Writer) -> None:
    """The key keeps its first answer."""
    first, _ = writer.run_sync(lambda tx: mutate(tx, "k"))
    with pytest.raises(KeyReused):
        writer.run_sync(lambda tx: mutate(tx, "k", fingerprint="another"))
    assert writer.run_sync(lambda tx: mutate(tx, "k")) == (first, True)


def test_a_key_belongs_to_viewer_and_mutation(writer: Writer) -> None:
    """The same text means another key for another viewer or mutation."""
    found = {
        writer.run_sync(lambda tx, v=viewer, m=mutation: mutate(tx, "k", viewer=v, mutation=m))  # type: ignore[misc]
        for viewer in ("ann", "bob", "")
        for mutation in ("send", "register")
    }
    assert len(found) == 6
    assert {replayed for _, replayed in found} == {False}


def test_a_failed_mutation_does_not_use_up_its_key(writer: Writer) -> None:
    """A transaction function that raises writes nothing, not even the key."""

    def fails(tx: Tx) -> None:
        mutate(tx, "k")
        raise ValueError("taken, say")

    with pytest.raises(ValueError, match="taken"):
        writer.run_sync(fails)
    assert writer.run_sync(lambda tx: mutate(tx, "k", fingerprint="fixed"))[1] is False


async def test_two_at_the_same_moment_make_one_job(ledger_url: str) -> None:
    """Requests of one process share a commit; of two processes one waits for the other."""
    with writing(ledger_url) as one, writing(ledger_url) as two:
        for n in range(20):
            found = await asyncio.gather(
                *(writer.run(lambda tx, n=n: mutate(tx, f"k{n}")) for writer in (one, one, two, two))  # type: ignore[misc]
            )
            assert len({job_id for job_id, _ in found}) == 1, found
            assert sorted(replayed for _, replayed in found) == [False, True, True, True]


async def test_two_with_different_inputs_at_the_same_moment_make_one_job(ledger_url: str) -> None:
    """The second input is refused."""
    with writing(ledger_url) as one, writing(ledger_url) as two:
        for n in range(10):
            found = await asyncio.gather(
                one.run(lambda tx, n=n: mutate(tx, f"k{n}", fingerprint="one")),  # type: ignore[misc]
                two.run(lambda tx, n=n: mutate(tx, f"k{n}", fingerprint="two")),  # type: ignore[misc]
                return_exceptions=True,
            )
            assert sorted(type(answer).__name__ for answer in found) == ["KeyReused", "tuple"]


def test_old_keys_are_deleted(writer: Writer) -> None:
    """The oldest go first, and at most the limit in one commit."""
    first, _ = writer.run_sync(lambda tx: mutate(tx, "k"))
    assert writer.run_sync(lambda tx: idempotency.prune(tx, before=tx.now - 1_000_000, limit=9)) == 0
    assert writer.run_sync(lambda tx: mutate(tx, "k")) == (first, True)
    later, _ = writer.run_sync(lambda tx: mutate(tx, "later"))
    assert writer.run_sync(lambda tx: idempotency.prune(tx, before=tx.now + 1, limit=1)) == 1
    assert writer.run_sync(lambda tx: mutate(tx, "later")) == (later, True)
    assert writer.run_sync(lambda tx: mutate(tx, "k"))[1] is False


def test_the_jobs_of_a_commit_stay_one_insert_between_keys_and_counts(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer's open jobs are counted once, each key takes two statements, and the jobs go together."""
    for _ in range(2):  # the counters of the first commit are in the ledger
        writer.run_sync(partial(accept, owner="ann"))
    seen = note_statements(writer, monkeypatch)

    def ten(tx: Tx) -> list[int]:
        counted = []
        for n in range(10):
            counted.append(ledger.count_open(tx, "ann"))
            names = {"viewer": "ann", "mutation": "send", "key": f"key {n}", "fingerprint": "f"}
            assert idempotency.replay(tx, **names) is None
            idempotency.remember(tx, **names, reference={"job": accept(tx, owner="ann").id})
        return counted

    assert writer.run_sync(ten) == list(range(2, 12))
    assert writer.run_sync(lambda tx: ledger.count_open(tx, "ann")) == 12
    assert sum(bool(re.search(r"INSERT INTO \S*jobs\b", text)) for text in seen) == 1, seen
    assert sum("idempotency" in text for text in seen) == 20, seen
    assert sum(bool(re.match(r"SELECT [^;]*\S*counts\b", text)) for text in seen) == 2, seen
