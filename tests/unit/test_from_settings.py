"""`Onward.from_settings`: a wrong argument is refused at once, by its name."""

from pathlib import Path
from typing import Any

import pytest

from onward import Onward, handler
from onward.config.settings import SettingsError
from onward.runtime.enqueuing import check_requests
from tests import application


@handler("test.one")
def one(job: Any) -> None: ...


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"file": 5}, TypeError, r'file must be the path of settings.toml, as in "settings.toml" \(got 5\)'),
        ({"viewer": 5}, TypeError, r"viewer must be a function of the connection, as in viewer=my_viewer.*got 5"),
        ({"viewer": "users:viewer"}, TypeError, r"auth.viewer of the settings takes a name \(got 'users:viewer'\)"),
        ({"type_prefix": 5}, TypeError, r'type_prefix must be a string, as in type_prefix="Onward" \(got 5\)'),
        ({"type_prefix": "2 x"}, SettingsError, "type_prefix: '2 x' begins no name of a GraphQL type"),
        ({"overrides": 5}, TypeError, r"overrides must be a dict of settings, as in .* \(got 5\)"),
        ({"overrides": []}, TypeError, r"overrides must be a dict of settings, as in .* \(got \[\]\)"),
        ({"overrides": {5: 5}}, TypeError, r"overrides must be a dict of settings"),
        ({"overrides": {"databse": {}}}, SettingsError, "^overrides: databse is not a setting; did you mean database"),
        ({"overrides": {"server": {"port": "x"}}}, SettingsError, "^overrides: server.port must be"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(
    tmp_path: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    application.write(tmp_path)
    with pytest.raises(error, match=message):
        Onward.from_settings(**{"file": tmp_path, **given})


def test_the_settings_themselves_are_asked_for() -> None:
    with pytest.raises(TypeError, match=r"settings must be the project's: write Onward\.from_settings"):
        Onward("settings.toml")  # type: ignore[arg-type]


def test_a_mounted_application_is_made_of_a_schema_and_an_address(tmp_path: Path) -> None:
    application.write(tmp_path)
    onward: Any = Onward.from_settings(tmp_path)
    with pytest.raises(TypeError, match=r"schema must be a strawberry\.Schema, as in .* \(got 5\)"):
        onward.graphql_with(5)
    with pytest.raises(TypeError, match=r"graphql must be an address as a string, as in .* \(got 5\)"):
        onward.pages_with(graphql=5)


@pytest.mark.parametrize("given", [one.job(), one, 5, None])
def test_one_job_is_no_list_of_jobs(given: Any) -> None:
    with pytest.raises(TypeError, match=r"requests must be a list of jobs, as in enqueue_many\(\[HANDLER\.job"):
        check_requests(given)
