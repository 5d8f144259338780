"""The declaration of a limit by key, and the keys of jobs."""

from __future__ import annotations

from typing import Any

import pytest

from onward.config.settings import SettingsError
from onward.handlers.base import JobContext, Limit, Unique, handler
from onward.handlers.limit import MAX_CHARACTERS
from onward.runtime import values


def made(limit: Any, name: str = "orders.sync", **options: Any) -> Any:
    @handler(name, limit=limit, **options)
    async def sync(_job: JobContext, *, customer: str, region: int = 1, tags: list[str] | None = None) -> None:
        pass

    return sync


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({}, ValueError, "limits nothing"),
        ({"concurrency": 0}, ValueError, "1 to 100,000"),
        ({"concurrency": True}, TypeError, "concurrency must be a whole number"),
        ({"concurrency": 1.5}, TypeError, "concurrency must be a whole number"),
        ({"rate": "100"}, ValueError, "as in 100/m"),
        ({"rate": "0/m"}, ValueError, "as in 100/m"),
        ({"rate": 100}, TypeError, "rate must be a string"),
        ({"concurrency": 1, "by": ["customer"]}, TypeError, "by must be a parameter or a tuple"),
        ({"concurrency": 1, "by": (1,)}, TypeError, "by must be a parameter or a tuple"),
        ({"concurrency": 1, "name": "CRM 1"}, ValueError, "as in crm"),
        ({"concurrency": 1, "name": 1}, TypeError, "name must be a string"),
    ],
)
def test_a_wrong_limit_is_refused_where_it_is_written(given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Limit(**given)


def test_a_handler_refuses_a_limit_by_what_is_no_parameter_or_secret() -> None:
    with pytest.raises(ValueError, match="limit is by client, which is not a parameter"):
        made(Limit(concurrency=1, by="client"))
    with pytest.raises(ValueError, match="limit is by customer, which is secret"):
        made(Limit(concurrency=1, by=("region", "customer")), secret=frozenset({"customer"}))
    with pytest.raises(TypeError, match="limit must be a Limit"):
        made("customer")


def test_a_limit_by_a_parameter_that_unique_may_replace_is_refused() -> None:
    """The key of a job that is there would be that of its former parameters."""
    both = Limit(concurrency=1, by=("region", "customer"))
    with pytest.raises(ValueError, match="limit is by customer, which unique may replace: name it in by of the Unique"):
        made(both, unique=Unique(by=("region",), replace=True))
    made(both, unique=Unique(by=("region", "customer"), replace=True))
    made(both, unique=Unique(by=("region",)))


@pytest.mark.parametrize(
    ("by", "name", "expected"),
    [
        ("customer", None, "orders.sync:acme"),
        ("customer", "crm", "crm:acme"),
        ("region", None, "orders.sync:7"),
        (("region", "customer"), "crm", 'crm:[7,"acme"]'),
        (("customer",), "crm", "crm:acme"),
        ("tags", None, 'orders.sync:["a","b"]'),
        ((), None, "orders.sync:"),
    ],
)
def test_a_key_is_the_name_and_the_value(by: Any, name: str | None, expected: str) -> None:
    found = made(Limit(concurrency=1, by=by, name=name))
    assert found.limit_key(found.bind({"customer": "acme", "region": 7, "tags": ["a", "b"]})) == expected


def test_a_value_that_is_long_or_cannot_be_shown_is_hashed() -> None:
    """Different values have different keys, and each has one length."""
    found = made(Limit(concurrency=1, by="customer"))
    values = ["x" * MAX_CHARACTERS, "x" * (MAX_CHARACTERS + 1), "x" * 1_000_000, "a\nb", "\0", "\u202e"]
    keys = [found.limit_key({"customer": value}) for value in values]
    assert keys[0] == f"orders.sync:{values[0]}"
    assert all(key.startswith("orders.sync:sha256-") and len(key) < 60 for key in keys[1:])
    assert len(set(keys)) == len(keys)


def test_handlers_that_share_a_limit_agree_on_it() -> None:
    one = made(Limit(concurrency=1, by="customer", name="crm"))
    same = made(Limit(concurrency=1, by="region", name="crm"), "orders.call")
    other = made(Limit(concurrency=2, by="customer", name="crm"), "orders.mail")
    rules = values.key_limits({"orders.sync": one, "orders.call": same, "orders.none": made(None, "orders.none")})
    assert rules["orders.sync"] == rules["orders.call"]
    assert rules["orders.none"] is None
    with pytest.raises(SettingsError, match=r"the limit crm is not the same in orders\.sync and orders\.mail"):
        values.key_limits({"orders.sync": one, "orders.mail": other})
