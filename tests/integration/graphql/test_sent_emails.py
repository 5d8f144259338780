"""Messages in files are shown in development only."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.graphql.conftest import running, settings_in, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header

QUERY = "{ system { letters { id recipient subject text } } }"


async def test_the_message_to_a_registered_user_can_be_read(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        assert (await api.data(QUERY))["system"]["letters"] == []
        job = (await api.mutate("registerUser", username="ada", email="ada@example.com"))["job"]

        async def there() -> Any:
            return (await api.data(QUERY))["system"]["letters"]

        (letter,) = await until(there)
    assert (letter["id"], letter["recipient"]) == (job["id"], "ada@example.com")
    assert "Hello ada" in letter["text"]


@pytest.mark.parametrize(
    "settings",
    [{"environment": "production", "auth": {"allow_public": True}}, {"email": {"transport": "smtp"}}],
)
async def test_in_production_or_without_files_no_messages_are_shown(tmp_path: Path, settings: dict[str, Any]) -> None:
    async with running(settings_in(tmp_path, **settings)) as api:
        assert (await api.data(QUERY))["system"]["letters"] is None


async def test_only_admins_read_messages(tmp_path: Path) -> None:
    async with behind_tokens(tmp_path) as api:
        assert (await ask(api, header("ada"), QUERY))["data"]["system"]["letters"] is None
        assert (await ask(api, header("root", "admin"), QUERY))["data"]["system"]["letters"] == []


async def test_at_most_one_page_of_messages_is_returned(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        (error,) = await api.errors("{ system { letters(first: 51) { id } } }")
    assert error["extensions"]["code"] == "INVALID"
