"""Settings are found where dlt finds them, checked before anything starts, and never tell the key."""

import tomllib
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dlt.common.runtime.run_context import RunContext

from pipelines import settings
from pipelines.errors import ConfigurationError

KEY = "afk_0123456789abcdef"


def write(folder: Path, file: str, text: str) -> None:
    place = folder / ".dlt" / file
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)


def scope(name: str) -> str:
    return f'[sources.apiframe]\nscope = "{name}"\n'


@pytest.fixture
def home() -> Path:
    return Path.home()


# Precedence


def test_without_any_configuration_the_defaults_hold(isolated: Path) -> None:
    found = settings.load()
    assert found.api_key is None
    assert found.project == isolated
    assert found.path == isolated / "data" / "warehouse.duckdb"
    assert (found.base_url, found.scope, found.workers) == ("https://api.apiframe.ai/v2", "user", 8)
    assert found.settle_after == timedelta(hours=1)
    assert found.monthly_credits == 0


def places(project: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where a setting can stand, the one that wins first: each a function that sets the scope there."""
    return [
        lambda value: monkeypatch.setenv("SOURCES__APIFRAME__SCOPE", value),
        lambda value: write(project, "secrets.toml", scope(value)),
        lambda value: write(home, "secrets.toml", scope(value)),
        lambda value: write(project, "config.toml", scope(value)),
        lambda value: write(home, "config.toml", scope(value)),
    ]


@pytest.mark.parametrize("winner", range(5))
def test_environment_before_secrets_before_config_and_project_before_home(
    isolated: Path, home: Path, monkeypatch: pytest.MonkeyPatch, winner: int
) -> None:
    for place, put in enumerate(places(isolated, home, monkeypatch)):
        if place >= winner:
            put("team" if place == winner else "user")
    assert settings.load().scope == "team"


@pytest.mark.parametrize("winner", range(5))
def test_dlt_finds_the_same(isolated: Path, home: Path, monkeypatch: pytest.MonkeyPatch, winner: int) -> None:
    for place, put in enumerate(places(isolated, home, monkeypatch)):
        if place >= winner:
            put("team" if place == winner else "user")
    context = RunContext(str(isolated))
    context._global_dir = str(home / ".dlt")  # what it is for everyone but root
    found = (provider.get_value("scope", str, "", "sources", "apiframe")[0] for provider in context.initial_providers())
    assert next(value for value in found if value is not None) == settings.load().scope == "team"


def test_options_of_the_command_come_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__APIFRAME__SCOPE", "user")
    assert settings.load(scope="team").scope == "team"
    assert settings.load(scope=None).scope == "user"


def test_short_names_do_not_count(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPE", "team")
    monkeypatch.setenv("APIFRAME__SCOPE", "team")
    write(isolated, "config.toml", 'scope = "team"\n[apiframe]\nscope = "team"\n')
    assert settings.load().scope == "user"


def test_the_key_by_its_own_name_and_by_dlts_which_wins(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APIFRAME_API_KEY", KEY)
    assert settings.load().require_key() == KEY
    write(isolated, "secrets.toml", '[sources.apiframe]\napi_key = "afk_dlt"\n')
    assert settings.load().require_key() == "afk_dlt"
    monkeypatch.setenv("SOURCES__APIFRAME__API_KEY", "afk_environment")
    assert settings.load().require_key() == "afk_environment"
    monkeypatch.setenv("SOURCES__APIFRAME__API_KEY", "")
    assert settings.load().require_key() == KEY, "an empty name is not set"


def test_the_project_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere, "config.toml", scope("team"))
    monkeypatch.setenv("DLT_PROJECT_DIR", str(elsewhere))
    found = settings.load()
    assert (found.scope, found.project, found.path) == ("team", elsewhere, elsewhere / "data" / "warehouse.duckdb")


def test_a_relative_project_folder_is_made_absolute(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLT_PROJECT_DIR", ".")
    assert settings.load().path == isolated / "data" / "warehouse.duckdb"


def test_where_dlt_keeps_its_data_does_not_move_the_configuration(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("workers = [")
    write(home, "config.toml", scope("team"))
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    assert settings.load().scope == "team"


@pytest.mark.parametrize("path", ["~/warehouse.duckdb", "{home}/warehouse.duckdb"])
def test_the_path_may_be_in_the_home_folder(home: Path, path: str) -> None:
    assert settings.load(path=path.format(home=home)).path == home / "warehouse.duckdb"


# Checks

WRONG = [
    ("sources.apiframe.base_url", "ftp://api.apiframe.ai", "must be an address like https://"),
    ("sources.apiframe.base_url", "api.apiframe.ai/v2", "must be an address"),
    ("sources.apiframe.base_url", "https://", "must be an address"),
    ("sources.apiframe.base_url", "https://api.apiframe.ai/v2?x=1", "must be an address"),
    ("sources.apiframe.base_url", "https://api.apiframe.ai:99999", "must be an address"),
    ("sources.apiframe.base_url", "https://[", "must be an address"),
    ("sources.apiframe.scope", "everyone", "must be one of user, team"),
    ("sources.apiframe.scope", "", "must be one of user, team"),
    ("sources.apiframe.settle_after", "an hour", "must be a duration like 30m, 1h or 2d"),
    ("sources.apiframe.settle_after", "-1h", "must be a duration"),
    ("sources.apiframe.settle_after", "99999d", "at most 3650d"),
    ("reports.labels_from", "labels.xlsx", "must be the path of a .csv or .parquet file"),
    ("sources.apiframe.balance_every", "hourly", "must be a duration"),
    ("sources.apiframe.inputs", "sometimes", "must be true or false"),
    ("sources.apiframe.inputs", "", "must be true or false"),
    ("sources.apiframe.inputs_per_sync", "-1", "a whole number from 0"),
    ("sources.apiframe.inputs_keep", "model,.seed", "must be a list of names"),
    ("sources.apiframe.inputs_drop", "options..seed", "must be a list of names"),
    ("sources.apiframe.max_requests_per_minute", "-1", "a whole number from 0 to 60000"),
    ("sources.apiframe.workers", "0", "a whole number from 1 to 64"),
    ("sources.apiframe.workers", "65", "a whole number from 1 to 64"),
    ("sources.apiframe.workers", "2.5", "a whole number"),
    ("warehouse.path", "", "must be the path of a file"),
    ("warehouse.path", "~nobody-of-this-name/w.duckdb", "home directory"),
    ("warehouse.path", "data/apiframe.duckdb", "choose another name"),
    ("warehouse.path", "reports.db", "choose another name"),
    ("warehouse.path", "REPORTS.duckdb", "schema reports in it"),
    ("warehouse.path", "Apiframe.duckdb", "schema apiframe in it"),
    ("warehouse.path", "apiframe.of.mine.duckdb", "schema apiframe in it"),
    ("warehouse.path", "apiframe_staging.duckdb", "choose another name"),
    ("warehouse.path", "information_schema.duckdb", "choose another name"),
    ("warehouse.path", r"C:\data\w.duckdb", "a path of Windows"),
    ("warehouse.path", "C:/data/w.duckdb", "a path of Windows"),
    ("warehouse.path", r"\\server\data\w.duckdb", "a path of Windows"),
    ("warehouse.path", "é" * 120 + "x.duckdb", "too long: at most 240 bytes"),
    ("warehouse.destination", "Duck DB", "must be the name of a destination"),
    ("reports.timezone", "localtime", "must be a time zone like UTC or Europe/Berlin"),
    ("reports.timezone", "Mars/Olympus", "must be a time zone"),
    ("reports.timezone", "", "must be a time zone"),
    ("reports.timezone", "../etc", "must be a time zone"),
    ("checks.max_age", "soon", "must be a duration"),
    ("checks.failure_rate", "1.1", "a number from 0 to 1"),
    ("checks.failure_rate", "nan", "a number from 0 to 1"),
    ("checks.failure_window", "1w", "must be a duration"),
    ("checks.failure_min_jobs", "0", "a whole number from 1"),
    ("checks.monthly_credits", "-1", "a number from 0"),
    ("checks.monthly_credits", "NaN", "a number from 0"),
    ("checks.monthly_credits", "many", "a number from 0"),
    ("checks.stuck_jobs", "-1", "a whole number from 0"),
    ("checks.webhook_failure_rate", "50%", "a number from 0 to 1"),
    ("checks.min_credits", "-1", "a number from 0"),
    ("checks.min_days", "366", "a whole number from 0 to 365"),
    ("checks.monthly_budget", "-1", "credits like 120000, or money like"),
    ("checks.monthly_budget", "1200 usd", "credits like 120000, or money like"),
    ("checks.monthly_budget", "USD 1200", "credits like 120000, or money like"),
    ("checks.monthly_budget", "nan", "credits like 120000, or money like"),
    ("checks.monthly_budget", "10000000000001", "credits like 120000, or money like"),
    ("checks.refunds_due_after", "two days", "must be a duration"),
    ("checks.max_residual", "-1", "a number from 0"),
    ("checks.min_impact", "5 percent", "credits like 500, or a share"),
    ("checks.min_impact", "101%", "credits like 500, or a share"),
    ("checks.max_turnaround_growth", "twice", "a number from 0 to 1000"),
    ("checks.webhook_url", "ftp://example.com", "must be an address that begins with http:// or https://"),
    ("checks.heartbeat_url", "https://", "must be an address that begins with http:// or https://"),
    ("checks.mail_to", "somebody", "must be addresses like ops@example.com"),
    ("checks.mail_from", "a@b\nBcc: c@d", "must be addresses like ops@example.com"),
    ("checks.mail_to", "['a@b.com', 'c@d.com']", "must be addresses like ops@example.com"),
    ("checks.mail_to", "a@[x", "must be addresses like ops@example.com"),
    ("runtime.slack_incoming_hook", "foo", "must be an address that begins with http:// or https://"),
    ("checks.mail_server", "host", "must be an address that begins with smtp:// or smtps://"),
    ("runtime.request_timeout", "0", "a number from 0.01"),
    ("runtime.request_max_attempts", "0", "a whole number from 1"),
    ("runtime.request_backoff_factor", "inf", "a number from 0"),
    ("runtime.request_max_retry_delay", "-5", "a number from 0"),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_wrong_value_is_refused_by_its_full_name_with_what_is_allowed(name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as problem:
        settings.load({name.replace(".", "__").upper(): value})
    line = str(problem.value)
    secret = any(own in settings.SECRETS and known == name for own, (known, _, _) in settings._SETTINGS.items())
    assert line.startswith(f"{name}: " if secret else f"{name} = {value!r}: ")
    assert told in line
    assert problem.value.exit_code == 2


def test_every_setting_that_can_be_wrong_is_checked() -> None:
    free = {"sources.apiframe.api_key"}
    assert {name for name, _, _ in settings._SETTINGS.values()} - free == {name for name, _, _ in WRONG}


@pytest.mark.parametrize("name", ["inputs", "inputs_drop"])
@pytest.mark.parametrize("value", ["1", "[1]", "{a = 1}"])
def test_a_toml_value_that_is_no_switch_or_list_of_names_is_refused(isolated: Path, name: str, value: str) -> None:
    write(isolated, "config.toml", f"[sources.apiframe]\n{name} = {value}\n")
    with pytest.raises(ConfigurationError, match=f"sources.apiframe.{name} = "):
        settings.load()


@pytest.mark.parametrize("value", ["true", "[1]", "2026-01-01"])
@pytest.mark.parametrize("name", ["settle_after", "workers", "scope"])
def test_a_toml_value_of_another_kind_is_refused(isolated: Path, name: str, value: str) -> None:
    write(isolated, "config.toml", f"[sources.apiframe]\n{name} = {value}\n")
    with pytest.raises(ConfigurationError, match=f"sources.apiframe.{name} = "):
        settings.load()


@pytest.mark.parametrize(
    ("value", "duration"),
    [
        ("90", timedelta(seconds=90)),
        (90, timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("30 m", timedelta(minutes=30)),
        ("2d", timedelta(days=2)),
        ("45s", timedelta(seconds=45)),
        (0, timedelta(0)),
    ],
)
def test_durations(value: object, duration: timedelta) -> None:
    assert settings.load(settle_after=value).settle_after == duration


@pytest.mark.parametrize("text", ["prompt,options.seed", ' ["prompt", "options.seed"] ', "prompt , options.seed,"])
def test_a_list_of_names_in_the_environment(isolated: Path, text: str) -> None:
    write(isolated, "config.toml", "[sources.apiframe]\ninputs = true\n")
    found = settings.load({"SOURCES__APIFRAME__INPUTS_DROP": text})
    assert (found.inputs, found.inputs_drop, found.inputs_keep) == (True, ("prompt", "options.seed"), ())


@pytest.mark.parametrize("text", ["", "[]", []])
def test_an_empty_list_of_names_is_none(text: object) -> None:
    assert settings.load(inputs_keep=text).inputs_keep == ()


def test_what_to_keep_of_inputs_and_what_to_drop_cannot_both_be_set() -> None:
    with pytest.raises(ConfigurationError, match=r"inputs_keep and .*inputs_drop: set one of them") as problem:
        settings.load(inputs_keep=["model"], inputs_drop=["prompt"])
    assert problem.value.exit_code == 2


def test_numbers_keep_their_digits() -> None:
    found = settings.load({"CHECKS__MONTHLY_CREDITS": "10_000.0001", "SOURCES__APIFRAME__WORKERS": " 16 "})
    assert found.monthly_credits == Decimal("10000.0001")
    assert found.workers == 16


def test_a_slash_at_the_end_of_the_address_does_not_make_another_address() -> None:
    assert settings.load(base_url=" https://api.apiframe.ai/v2/ ").base_url == "https://api.apiframe.ai/v2"


# The key


def test_without_a_key_it_is_said_how_to_set_one() -> None:
    with pytest.raises(ConfigurationError, match=r"set APIFRAME_API_KEY, or api_key in \.dlt/secrets\.toml"):
        settings.load({"APIFRAME_API_KEY": " "}).require_key()


@pytest.mark.parametrize("key", ["afk_secret\nafk_secret", "afk_secret€", "afk_sec ret"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="copy it again") as problem:
        settings.load({"APIFRAME_API_KEY": key})
    assert "sec" not in str(problem.value)


@pytest.mark.parametrize("user", ["user:hush", ":hush", "hush"])
def test_an_address_that_holds_a_password_is_refused_and_the_password_not_shown(user: str) -> None:
    with pytest.raises(ConfigurationError, match="must be an address") as problem:
        settings.load({"SOURCES__APIFRAME__BASE_URL": f"https://{user}@api.apiframe.ai/v2"})
    assert "hush" not in str(problem.value)


def test_a_user_without_a_home_folder_needs_none(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    write(isolated, "config.toml", '[sources.apiframe]\nscope = "team"\n')
    assert settings.load().scope == "team"


def test_the_hook_of_slack_is_a_secret_too() -> None:
    found = settings.load({"RUNTIME__SLACK_INCOMING_HOOK": " https://hooks.slack.com/secret "})
    assert found.slack_hook == "https://hooks.slack.com/secret"
    assert settings.load({"RUNTIME__SLACK_INCOMING_HOOK": " "}).slack_hook is None


def test_settings_can_be_printed_without_telling_secrets() -> None:
    hidden = {
        "RUNTIME__SLACK_INCOMING_HOOK": "https://hooks.example/hush",
        "CHECKS__WEBHOOK_URL": "https://example.com/hush",
        "CHECKS__HEARTBEAT_URL": "https://example.com/hush",
        "CHECKS__MAIL_SERVER": "smtps://user:hush@example.com",
    }
    found = settings.load({"APIFRAME_API_KEY": KEY, **hidden})
    assert KEY not in repr(found)
    assert "hush" not in repr(found)
    for name in hidden.keys() - {"RUNTIME__SLACK_INCOMING_HOOK"}:
        with pytest.raises(ConfigurationError) as problem:
            settings.load({name: "hush no address"})
        assert "hush" not in str(problem.value)


# Files


@pytest.mark.parametrize("file", ["config.toml", "secrets.toml"])
def test_broken_toml_is_an_error_that_names_the_file_and_the_line_and_not_the_key(isolated: Path, file: str) -> None:
    write(isolated, file, f'[sources.apiframe]\napi_key = "{KEY}\n')
    with pytest.raises(ConfigurationError, match=f"cannot read .*{file}: .*line 2") as problem:
        settings.load()
    assert KEY not in str(problem.value)


def test_a_file_that_is_no_text_is_an_error(isolated: Path) -> None:
    (isolated / ".dlt").mkdir()
    (isolated / ".dlt" / "config.toml").write_bytes(b"\xff\xfe[sources]")
    with pytest.raises(ConfigurationError, match="cannot read"):
        settings.load()


def test_a_folder_in_the_place_of_a_file_is_an_error(isolated: Path) -> None:
    (isolated / ".dlt" / "config.toml").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="cannot read"):
        settings.load()


@pytest.mark.parametrize("text", ["sources = 1", "[sources]\napiframe = 'x'", ""])
def test_other_things_in_the_files_do_not_matter(isolated: Path, text: str) -> None:
    write(isolated, "config.toml", text)
    assert settings.load().scope == "user"


# What is documented

REPOSITORY = Path(settings.__file__).parents[1]
#: Settings of dlt itself, which we only pass on.
OF_DLT = {"runtime.dlthub_telemetry": False}


def flat(document: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def test_config_toml_names_every_setting_with_its_default() -> None:
    documented = flat(tomllib.loads((REPOSITORY / ".dlt" / "config.toml").read_text()))
    defaults = {name: default for name, default, _ in settings._SETTINGS.values() if default is not None}
    assert documented == defaults | OF_DLT


def test_example_secrets_names_every_secret_and_holds_none() -> None:
    text = (REPOSITORY / ".dlt" / "example.secrets.toml").read_text()
    assert flat(tomllib.loads(text)) == {"sources.apiframe.api_key": "afk_..."}
    for name in ("slack_incoming_hook", "webhook_url", "mail_server", "heartbeat_url"):
        assert f"# {name} = " in text
