"""Frozen dataclasses that are made quickly."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import pytest

from onward.jobs.frozen import made_quickly
from onward.jobs.model import Job, Step


@made_quickly
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    name: str | None = None

    @property
    def total(self) -> int:
        return self.x + self.y


def test_it_is_made_by_position_and_by_name_with_its_defaults() -> None:
    one = Point(1, name="a")
    assert (one.x, one.y, one.name, one.total, type(one)) == (1, 2, "a", 3, Point)
    assert repr(one).endswith("Point(x=1, y=2, name='a')")


def test_it_is_frozen_and_has_no_further_attributes() -> None:
    one = Point(1)
    with pytest.raises(FrozenInstanceError):
        one.x = 5  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.x
    with pytest.raises((FrozenInstanceError, TypeError)):
        one.other = 5  # type: ignore[attr-defined]
    assert not hasattr(one, "__dict__")


def test_equal_ones_are_equal_and_have_one_hash() -> None:
    assert Point(1) == Point(1, 2) != Point(1, 3)
    assert len({Point(1), Point(1, 2), Point(2)}) == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one)), replace])
def test_a_copy_is_equal(copied: Any) -> None:
    assert copied(Point(4, name="b")) == Point(4, name="b")
    assert replace(Point(4), y=7) == Point(4, 7)


@pytest.mark.parametrize(
    ("values", "named"), [((1, 2, "a", 4), {}), ((1,), {"x": 2}), ((1,), {"z": 2}), ((), {"y": 2}), ((), {})]
)
def test_other_arguments_are_refused(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)


@pytest.mark.parametrize("cls", [Point, Step, Job])
def test_its_signature_is_that_of_its_fields(cls: Any) -> None:
    assert [*inspect.signature(cls).parameters] == [one.name for one in fields(cls)]
