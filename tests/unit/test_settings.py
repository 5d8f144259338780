"""Wrong settings stop the start with one line: the key, its source, and the allowed values."""

import re
from pathlib import Path

import pytest

from onward.config.settings import Settings, SettingsError, enter, load
from tests.processes import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import os

    for name in list(os.environ):
        if name.upper().startswith("ONWARD_"):
            monkeypatch.delenv(name)
    (tmp_path / "settings.toml").touch()
    return tmp_path


def refusal(project: Path, toml: str = "", **overrides: object) -> str:
    (project / "settings.toml").write_text(toml, "utf-8")
    with pytest.raises(SettingsError) as caught:
        load(project, **overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_an_empty_file_is_valid(project: Path) -> None:
    settings = load(project)
    assert (settings.backend, settings.server.port, settings.backends.background.concurrency) == (
        "background",
        8000,
        32,
    )


def test_the_settings_file_of_the_repository_lists_the_defaults(project: Path) -> None:
    """The application's own parts are exceptions: its modules, its resources, its tables."""
    (project / "settings.toml").write_bytes((ROOT / "settings.toml").read_bytes())
    written = load(project)
    (project / "settings.toml").write_text("")
    silent = load(project)
    assert written.handlers.modules
    assert written.gql.modules
    assert (
        written.model_copy(
            update={
                "handlers": silent.handlers,
                "gql": silent.gql,
                "database": written.database.model_copy(update={"migrations": None}),
            }
        )
        == silent
    )


def test_paths_are_relative_to_the_project_s_folder(project: Path) -> None:
    settings = load(project)
    assert settings.database.url == f"sqlite:///{project}/var/onward.db"
    assert settings.email.directory == project / "var/mail"
    assert settings.log.path == project / "var/notifications.jsonl"


def test_absolute_paths_are_unchanged(project: Path) -> None:
    (project / "settings.toml").write_text('[database]\nurl = "sqlite:////srv/onward.db"\n[log]\npath = "/srv/log"')
    settings = load(project)
    assert (settings.database.url, settings.log.path) == ("sqlite:////srv/onward.db", Path("/srv/log"))


def test_the_environment_wins_over_the_file_key_by_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "settings.toml").write_text('[backends.dramatiq]\nurl = "redis://a/1"\nnamespace = "mine"')
    monkeypatch.setenv("ONWARD_BACKENDS__DRAMATIQ__URL", "redis://b/2")
    assert load(project).backends.dramatiq.url == "redis://b/2"
    assert load(project).backends.dramatiq.namespace == "mine"


def test_the_schema_can_be_set_by_the_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(project).database.schema_ == "onward"
    monkeypatch.setenv("ONWARD_DATABASE__SCHEMA", "shop_jobs")
    assert load(project).database.schema_ == "shop_jobs"


@pytest.mark.parametrize("name", ["", "Jobs", "my-jobs", "a b", 'a"b', "1st", "_a", "jöbs", "a.b", "a" * 41, "a\n"])
def test_a_schema_with_odd_characters_is_refused_with_an_example(project: Path, name: str) -> None:
    """Other names would need quotes in each statement that somebody writes."""
    words = (
        "database.schema must be up to 40 small letters, digits and underscores, the first one a letter, as in onward"
    )
    assert words in refusal(project, database={"schema": name})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("sqlite+aiosqlite:////srv/shop.db", "sqlite:////srv/shop.db"),
        ("postgresql+asyncpg://ada:pw@h/shop+asyncpg://", "postgresql://ada:pw@h/shop+asyncpg://"),
        (
            "postgresql+asyncpg://ada:pw@h/shop?ssl=require&prepared_statement_cache_size=0&application_name=shop",
            "postgresql://ada:pw@h/shop?sslmode=require&application_name=shop",
        ),
        ("postgresql+asyncpg:///shop?command_timeout=5", "postgresql:///shop"),
        ("postgresql+psycopg://h/shop?sslmode=require", "postgresql://h/shop?sslmode=require"),
    ],
)
def test_the_url_that_sqlalchemy_takes_names_the_same_database(project: Path, given: str, url: str) -> None:
    (project / "settings.toml").write_text(f'[database]\nurl = "{given}"')
    assert load(project).database.url == url


@pytest.mark.parametrize("name", ["pg_jobs", "information_schema", "sqlite_jobs"])
def test_a_schema_of_the_database_s_own_is_refused(project: Path, name: str) -> None:
    assert "database.schema must not be a name that the database keeps for itself" in refusal(
        project, f'[database]\nschema = "{name}"'
    )


def test_the_command_line_wins_over_the_environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONWARD_BACKEND", "background")
    assert load(project, backend="dramatiq").backend == "dramatiq"


@pytest.mark.parametrize(
    ("toml", "key", "nearest"),
    [
        ('bakend = "x"', "bakend", "backend"),
        ("[server]\nprot = 1", "server.prot", "port"),
        ("[servr]\nport = 1", "servr", "server"),
        ("[backends.dramatiq]\nurls = 1", "backends.dramatiq.urls", "url"),
        ("[email.smtp]\nhots = 'x'", "email.smtp.hots", "host"),
        ("[gql.limits]\ndept = 1", "gql.limits.dept", "depth"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_right_one(project: Path, toml: str, key: str, nearest: str) -> None:
    assert f"settings.toml: {key} is not a setting; did you mean {nearest}?" in refusal(project, toml)


@pytest.mark.parametrize(("key", "value"), [("backend", "dramatiq"), ("environment", "production")])
def test_a_key_below_a_table_is_reported_with_its_right_place(project: Path, key: str, value: str) -> None:
    """TOML reads it as the table's own, above all at the end of the file."""
    refused_with = refusal(project, f'[gql]\nmodules = []\n{key} = "{value}"')
    assert f"gql.{key} is not a setting; {key} stands above the first [table] of the file" in refused_with
    assert "stands above" not in refusal(project, "[gql]\nlog = 1")


def test_a_value_without_quotes_is_reported_with_the_fix(project: Path) -> None:
    assert "text stands in quotes" in refusal(project, "backend = dramatiq")


@pytest.mark.parametrize("text", ["", "100", "0/m", "1/y", "-1/m", "1.5/m", "1/m ", "١/m"])
def test_an_invalid_rate_is_refused_with_an_example(project: Path, text: str) -> None:
    assert "as in 100/m" in refusal(project, f'[queues."a.*"]\nrate = "{text}"')


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[server]\nport = "abc"', 'server.port must be a whole number (got "abc")'),
        ("[server]\nport = 70000", "server.port must be 0 to 65535 (got 70000): the TCP port"),
        ("[backends.background]\nconcurrency = 0", "backends.background.concurrency must be 1 to 10000 (got 0)"),
        (
            '[queues."a.*"]\nrate = "5/year"',
            "queues.a.*.rate must be a number and s, m, h or d for its time, as in 100/m",
        ),
        ('[queues."a.*"]\nconcurrency = 0', "queues.a.*.concurrency must be 1 to 100000 (got 0)"),
        ('environment = "prod"', 'environment must be "development" or "production" (got "prod")'),
        ('[email.smtp]\ntls = "ssl"', 'email.smtp.tls must be "none", "starttls" or "tls" (got "ssl")'),
        ("[handlers]\nmodules = 5", "handlers.modules must be a list (got 5)"),
        ("server = 5", "server must be a table (got 5)"),
        ("[register]\nanonymous = 'perhaps'", 'register.anonymous must be true or false (got "perhaps")'),
        (
            '[backends.mine]\nclass = "nowhere"',
            'backends.mine.class must be package.module:Class (got "nowhere")',
        ),
        ("[backends.mine]\nurl = 1", "backends.mine.class is missing"),
        ('[database]\nurl = "postgresql://h:many/d"', "database.url must be a URL with a number as its port"),
        ('[backends.dramatiq]\nurl = "redis://[::1/0"', "backends.dramatiq.url must be a URL"),
        ('[database]\nurl = "mysql://u:s3cret@h/d"', "must begin with sqlite:/// or postgresql:// (got mysql://)"),
        ('[database]\nurl = "postgres://h/d"', "must begin with sqlite:/// or postgresql:// (got postgres://)"),
        ('[database]\nurl = "onward.db"', "database.url must begin with sqlite:/// or postgresql://"),
        ('[database]\nurl = "sqlite:///:memory:"', "database.url must name a file: what is in memory ends with"),
        ('[database]\nurl = "sqlite://"', "database.url must name a file"),
        ('[database]\nurl = "sqlite:///file::memory:?cache=shared"', "database.url must name a file"),
        ('[backends.dramatiq]\nurl = "http://h/0"', "must begin with redis://, rediss:// or unix:// (got http://)"),
        ("[server]\ndrain_s = inf", "server.drain_s must be a finite number (got Infinity)"),
        ("[gql.limits]\ntimeout_s = nan", "gql.limits.timeout_s must be a finite number (got NaN)"),
        (
            '[handlers]\nmodules = [".handlers"]',
            'handlers.modules.0 must be the whole name of a module, as in "shop.orders" (got ".handlers")',
        ),
        ('[gql]\nmodules = ["shop/orders.py"]', "gql.modules.0 must be the whole name of a module"),
        ('[handlers]\nlifespan = "open"', 'handlers.lifespan must be package.module:function, or empty (got "open")'),
        ('[server]\norigins = ["app.example.com"]', "server.origins.0 must be a scheme and a host without a path"),
        ("[retention]\nkeys_days = 1e300", "retention.keys_days must be 0 to 100000 (got 1e+300)"),
        ("[retention]\njobs_days = 9\nkeys_days = 3", "retention.keys_days must be at least retention.jobs_days"),
    ],
)
def test_a_bad_value_is_reported_with_the_allowed_values(project: Path, toml: str, words: str) -> None:
    assert words in refusal(project, toml)


def test_an_undefined_backend_is_refused_with_the_defined_ones(project: Path) -> None:
    assert 'backend must be "background", "dramatiq" or "mine" (got "dramatik"); did you mean dramatiq?' in refusal(
        project, 'backend = "dramatik"\n[backends.mine]\nclass = "a:B"'
    )
    assert 'routes."email.*" must be' in refusal(project, '[routes]\n"email.*" = "dramatic"')


def test_the_message_names_the_source_of_the_value(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(project, "[server]\nport = -1").startswith(f"{project}/settings.toml: ")
    assert refusal(project, server={"port": -1}).startswith("command line: ")
    assert refusal(project, backend="none").startswith("command line: ")
    monkeypatch.setenv("ONWARD_SERVER__PORT", "x")
    assert refusal(project).startswith("ONWARD_SERVER__PORT (environment): ")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("ONWARD_BAKEND", "ONWARD_BACKEND"),
        ("ONWARD_SERVR__PORT", "ONWARD_SERVER__PORT"),
        ("ONWARD_SERVER__PROT", "ONWARD_SERVER__PORT"),
        ("ONWARD_EMAL__SMTP__HOTS", "ONWARD_EMAIL__SMTP__HOST"),
        ("ONWARD_REGISTR__ANONYMOUS", "ONWARD_REGISTER__ANONYMOUS"),
    ],
)
def test_a_misnamed_variable_is_refused_with_the_whole_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(variable, "dramatiq")
    assert refusal(project) == f"{variable} (environment) is not a setting; did you mean {meant}?"


def test_a_variable_of_a_backend_of_the_project_s_is_no_misnamed_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONWARD_BACKENDS__MINE__CLASS", "mine:Mine")
    monkeypatch.setenv("ONWARD_BACKENDS__MINE__SPEED", "9")
    monkeypatch.setenv("ONWARD_BACKENDS__DRAMATIQ__URL", "redis://h/0")
    assert load(project).backends.custom["mine"].options == {"speed": "9"}


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("ONWARD_SERVER_PORT", "ONWARD_SERVER__PORT"),
        ("ONWARD_BACKENDS__DRAMATIQ_URL", "ONWARD_BACKENDS__DRAMATIQ__URL"),
        ("ONWARD__AUTH_JWT_SECRET", "ONWARD_AUTH__JWT__SECRET"),
    ],
)
def test_a_variable_with_too_few_underscores_is_reported_with_the_right_one(
    variable: str, meant: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two underscores join a table and its key."""
    monkeypatch.setenv(variable, "9")
    assert refusal(project) == f"{variable} (environment) is not a setting; did you mean {meant}?"


def test_variables_of_kubernetes_for_a_service_of_that_name_are_passed_over(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("ONWARD", "ONWARD_SERVER"):
        for name, value in {
            "SERVICE_HOST": "10.0.0.7",
            "SERVICE_PORT": "80",
            "SERVICE_PORT_HTTP": "80",
            "PORT": "tcp://10.0.0.7:80",
            "PORT_80_TCP": "tcp://10.0.0.7:80",
            "PORT_80_TCP_PROTO": "tcp",
            "PORT_80_TCP_PORT": "80",
            "PORT_80_TCP_ADDR": "10.0.0.7",
        }.items():
            monkeypatch.setenv(f"{service}_{name}", value)
    assert load(project).server.port == Settings.model_fields["server"].default.port
    monkeypatch.setenv("ONWARD_SERVER_PORT", "8001")
    assert "did you mean ONWARD_SERVER__PORT" in refusal(project)


def test_a_variable_that_should_be_json_and_is_not_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONWARD_HANDLERS__MODULES", "mine")
    assert "ONWARD_HANDLERS__MODULES" in refusal(project)


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"{tmp_path}/settings.toml is missing")):
        load(tmp_path)
    with pytest.raises(SettingsError, match="is not a folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "settings.toml").mkdir()
    with pytest.raises(SettingsError, match=re.escape(f"{tmp_path}/settings.toml is a folder, and must be a file")):
        load(tmp_path)


@pytest.mark.parametrize("toml", ["backend = ", "[server\n", 'backend = "a"\nbackend = "b"'])
def test_invalid_toml_is_reported_in_one_line(project: Path, toml: str) -> None:
    assert "cannot be read" in refusal(project, toml)


def test_bytes_that_are_not_utf_8_are_reported_in_one_line(project: Path) -> None:
    (project / "settings.toml").write_bytes(b'backend = "\xff"')
    with pytest.raises(SettingsError, match=r"settings\.toml cannot be read"):
        load(project)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("utf-8-sig", "begins with a byte order mark"), ("utf-16", "is written in UTF-16"), ("utf-16-le", "UTF-16")],
)
def test_another_encoding_is_named_with_the_fix(project: Path, encoding: str, words: str) -> None:
    (project / "settings.toml").write_text('backend = "background"', encoding)
    with pytest.raises(SettingsError, match=f"{words}.*save it as UTF-8"):
        load(project)


@pytest.mark.parametrize("mode", ["", 'mode = "open"\n'])
def test_a_function_of_viewers_without_its_mode_is_refused(project: Path, mode: str) -> None:
    """Everyone would be an admin, and nobody would ask the function."""
    assert 'needs mode "custom"' in refusal(project, f'[auth]\n{mode}viewer = "shop.users:viewer"')


def test_the_project_is_not_set_in_its_own_file(project: Path) -> None:
    assert "project" in refusal(project, 'project = "/elsewhere"')


@pytest.mark.parametrize(
    "toml",
    [
        '[database]\nurl = "mysql://u:s3cret@h/d"',
        '[database]\nurl = "postgresql://u:s3cret/s3cret@h/d"',
        '[backends.dramatiq]\nurl = "http://:s3cret@h/0"',
        '[email.smtp]\npassword = ["s3cret"]',
        '[auth.jwt]\nsecret = "s3cret"',
    ],
)
def test_no_error_message_shows_a_secret(project: Path, toml: str) -> None:
    assert "s3cret" not in refusal(project, toml)


def test_settings_do_not_show_their_secrets(project: Path) -> None:
    secret = "s3cret" * 8
    (project / "settings.toml").write_text(
        f'[database]\nurl = "postgresql://u:{secret}@h/d"\n[backends.dramatiq]\nurl = "redis://:{secret}@h/0"\n'
        f'[email.smtp]\npassword = "{secret}"\n[auth]\nmode = "jwt"\njwt = {{secret = "{secret}"}}\n'
        f'[backends.mine]\nclass = "a:B"\npassword = "{secret}"'
    )
    assert secret not in repr(load(project))
    assert secret not in str(load(project))


def test_settings_are_immutable(project: Path) -> None:
    settings = load(project)
    for change in (
        lambda: setattr(settings, "backend", "x"),
        lambda: setattr(settings.server, "port", 1),
        lambda: settings.routes.update(a="b"),  # type: ignore[attr-defined]
    ):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            change()


def test_a_custom_backend_gets_its_other_keys_unchanged(project: Path) -> None:
    (project / "settings.toml").write_text(
        'backend = "mine"\n[backends.mine]\nclass = "a.b:C"\ndeep = {list = [1, "x"]}'
    )
    mine = load(project).backends.custom["mine"]
    assert (mine.class_, dict(mine.options)) == ("a.b:C", {"deep": {"list": [1, "x"]}})


def test_production_refuses_open_mode_by_default(project: Path) -> None:
    assert 'auth.mode must be "jwt" or "custom" in production' in refusal(project, 'environment = "production"')
    (project / "settings.toml").write_text('environment = "production"\n[auth]\nallow_public = true')
    assert load(project).auth.allow_public


@pytest.mark.parametrize("jwt", ["", '\njwt = {secret = "%s", jwks = "keys.json"}' % ("s" * 32)])
def test_exactly_one_kind_of_key_checks_tokens(project: Path, jwt: str) -> None:
    assert "exactly one of" in refusal(project, f'[auth]\nmode = "jwt"{jwt}')


def test_every_setting_has_a_description() -> None:
    from pydantic import BaseModel

    def undescribed(table: type[BaseModel], path: str) -> list[str]:
        found = []
        for name, field in table.model_fields.items():
            found += [] if field.description else [f"{path}{name}"]
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found += undescribed(field.annotation, f"{path}{name}.")
        return found

    assert undescribed(Settings, "") == []


def test_modules_of_the_project_can_be_imported_and_hide_no_other(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    enter(project)
    enter(project)
    assert sys.path.count(str(project)) == 1
    assert sys.path[-1] == str(project)


def test_a_secret_in_a_list_is_not_shown(project: Path) -> None:
    line = refusal(project, '[signals]\nsecret = ["my short key"]')
    assert "my short key" not in line
    assert "32 characters or more" in line
