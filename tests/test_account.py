"""Promise 8: a warehouse belongs to one account. Another one's key is refused, a rotated key goes on."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support import query, stale, stored

from pipelines.apiframe.account import Account, account_of, is_same
from pipelines.errors import ApiframeWarehouseError, ConfigurationError, KeyRefusedError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

Make = Callable[..., Settings]


@pytest.mark.parametrize(
    ("recorded", "found", "user", "team"),
    [
        (("u", "t"), ("u", "t"), True, True),
        (("u", "t"), ("v", "t"), False, True),  # a colleague's key lists the same team
        (("u", "t"), ("u", "s"), False, False),  # no scope goes from one team to another
        (("u", "t"), ("v", "s"), False, False),
        (("u", None), ("u", "t"), True, True),
        (("u", "t"), ("u", None), True, True),
        (("u", None), ("v", "t"), False, False),
        ((None, "t"), ("u", "t"), True, True),
        (("u", "t"), (None, "t"), None, True),
        (("u", None), (None, "t"), None, None),
        (("u", "t"), (None, None), None, None),
    ],
)
def test_the_team_is_the_account_of_scope_team_and_the_user_that_of_scope_user(
    recorded: Any, found: Any, user: bool | None, team: bool | None
) -> None:
    assert is_same(Account(*recorded), Account(*found), "user") is user
    assert is_same(Account(*recorded), Account(*found), "team") is team


@pytest.mark.parametrize(
    ("body", "account"),
    [
        ({}, Account()),
        ({"user": None, "team": None}, Account()),
        ({"user": {"id": 7}, "team": {"id": "t", "name": "T"}}, Account("7", "t", None, "T")),
        ({"user": {"id": True}, "team": []}, Account()),
        ({"user": {"id": "a\x1b[31m\nb", "email": ["x"]}}, Account("a [31m b")),
        ({"user": {"id": ""}, "team": {"id": " "}}, Account()),
    ],
)
def test_whatever_me_answers_is_taken_for_what_it_says(body: Any, account: Account) -> None:
    assert account_of(body) == account


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """An account of 250 jobs, and at the same address another one of 30."""
    with Sandbox(jobs=250, days=20) as api:
        api.host(Sandbox(jobs=30, days=20, seed=2))
        yield api


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    chosen = settings_for(api)
    sync(chosen)
    api.requests.clear()
    return chosen


@pytest.fixture
def stranger() -> str:
    return Sandbox(jobs=0, seed=2).api_key


def seal_of(chosen: Settings) -> Path:
    return chosen.path.parent / ".load" / f"{chosen.path.name}.key"


def test_the_key_of_another_account_is_refused_before_anything_is_written(
    api: Sandbox, here: Settings, settings_for: Make, stranger: str
) -> None:
    before = here.path.read_bytes()
    for scope in ("user", "team"):
        with pytest.raises(ConfigurationError, match=r"belongs to user .* of team .*\(Sandbox\)") as problem:
            sync(settings_for(api, api_key=stranger, scope=scope))
        assert stranger not in str(problem.value)
        assert (api.count("/me"), api.count()) == (1, 0)
        api.requests.clear()
    assert here.path.read_bytes() == before
    assert sync(here).run.requests == 1, "its own key is not asked about again"


def test_another_user_of_the_team_is_another_account(api: Sandbox, here: Settings, settings_for: Make) -> None:
    with pytest.raises(ConfigurationError, match="belongs to user"):
        sync(settings_for(api, api_key=api.member_key))


def test_a_rotated_key_goes_on_and_is_asked_about_once(api: Sandbox, here: Settings, settings_for: Make) -> None:
    rotated = settings_for(api, api_key=api.second_key)
    for asked in (1, 0):
        api.add(2)
        outcome = sync(rotated)
        assert (outcome.run.mode, outcome.run.jobs_new, api.count("/me")) == ("incremental", 2, asked)
        api.requests.clear()
    assert stale(here.path, api) == {}


def test_a_first_load_costs_one_request_and_a_sync_none(settings_for: Make) -> None:
    with Sandbox(jobs=0) as api:
        chosen = settings_for(api)
        assert sync(chosen).run.requests == 3, "the account, the list, its end once more"
        assert sync(chosen).run.requests == 1


def test_the_key_is_kept_nowhere_and_what_tells_it_from_others_is_private(api: Sandbox, here: Settings) -> None:
    assert stat.S_IMODE(seal_of(here).stat().st_mode) == 0o600
    for file in here.path.parent.rglob("*"):
        assert file.is_dir() or api.api_key.encode() not in file.read_bytes()
    assert seal_of(here).read_text().split()[1].encode() not in here.path.read_bytes()
    assert query(here.path, "select count(distinct user_id), count(team_id) from apiframe.sync_runs") == [(1, 1)]


def test_what_tells_the_key_is_made_anew_where_it_is_missing_or_damaged(api: Sandbox, here: Settings) -> None:
    for damage in (b"", b"\xff\xfe", b"salt only", None):
        seal_of(here).unlink()
        if damage is not None:
            seal_of(here).write_bytes(damage)
        assert sync(here).run.requests == 2
        assert sync(here).run.requests == 1


def test_where_me_fails_an_unchanged_key_goes_on_and_a_changed_one_does_not(
    api: Sandbox, here: Settings, settings_for: Make, stranger: str
) -> None:
    api.fault("500", times=None, path="/me")
    sync(here)
    for key in (api.second_key, stranger):
        with pytest.raises(ApiframeWarehouseError, match=r"does not tell whether this key does too: .*500") as problem:
            sync(settings_for(api, api_key=key))
        assert problem.value.exit_code == 1
    seal_of(here).unlink()
    with pytest.raises(ApiframeWarehouseError, match="belongs to user"):
        sync(here)
    api.clear_faults()
    assert sync(settings_for(api, api_key=api.second_key)).run.requests == 2


def test_where_me_fails_at_a_first_load_the_account_is_recorded_later(
    api: Sandbox, settings_for: Make, stranger: str
) -> None:
    api.fault("500", times=None, path="/me")
    chosen = settings_for(api)
    sync(chosen)
    assert query(chosen.path, "select user_id, team_id from apiframe.sync_runs") == [(None, None)]
    api.clear_faults()
    sync(chosen)
    with pytest.raises(ConfigurationError, match="belongs to user"):
        sync(settings_for(api, api_key=stranger))


@pytest.mark.parametrize("fault", ["404", "500"])
@pytest.mark.parametrize("cut_short", [False, True])
def test_where_the_account_was_never_told_its_jobs_tell_whose_they_are(
    api: Sandbox, settings_for: Make, stranger: str, fault: str, cut_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.apiframe.reading.BATCH_ROWS", 100)
    api.fault(fault, times=None, path="/me")
    if cut_short:
        api.fault("500", times=None, after=2)
        with pytest.raises(ApiframeWarehouseError, match="500"):
            sync(settings_for(api))
    else:
        sync(settings_for(api))
    for answers in (False, True):
        api.clear_faults()
        if not answers:
            api.fault(fault, times=None, path="/me")
        with pytest.raises(ConfigurationError, match="finds none of the jobs"):
            sync(settings_for(api, api_key=stranger))
    rotated = settings_for(api, api_key=api.second_key)
    sync(rotated)
    assert sync(rotated).run.requests == 1
    assert stale(rotated.path, api) == {}


def test_an_api_without_me_is_not_asked_for_it_again(api: Sandbox, settings_for: Make) -> None:
    api.fault("404", times=None, path="/me")
    chosen = settings_for(api)
    sync(chosen)
    assert sync(chosen).run.requests == 1


@pytest.mark.parametrize("known", [False, True])
def test_a_refused_key_is_told_as_such_for_two_requests(
    api: Sandbox, settings_for: Make, known: bool, tmp_path: Path
) -> None:
    path = str(tmp_path / "w.duckdb")
    if known:
        sync(settings_for(api, path=path))
    for key, words in ((api.inactive_key, "API key is inactive"), ("afk_wrong", "Invalid API key")):
        for _ in range(2):
            api.requests.clear()
            with pytest.raises(KeyRefusedError, match=f"the API refused the key: {words}; check APIFRAME_API_KEY"):
                sync(settings_for(api, api_key=key, path=path))
            assert (api.count("/me"), len(api.requests)) == (1, 2), "each time: it may be activated yet"


@pytest.mark.parametrize("fault", ["401", "403"])
def test_where_me_alone_is_refused_a_warehouse_of_no_account_yet_goes_on(
    api: Sandbox, settings_for: Make, fault: str
) -> None:
    api.fault(fault, times=None, path="/me")
    chosen = settings_for(api)
    sync(chosen)
    assert (stale(chosen.path, api), api.count("/me")) == ({}, 1)
    assert sync(chosen).run.requests == 1, "it is not asked again"


@pytest.mark.parametrize("fault", ["401", "403"])
def test_where_me_alone_is_refused_a_changed_key_does_not_go_on(
    api: Sandbox, here: Settings, settings_for: Make, fault: str
) -> None:
    before = here.path.read_bytes()
    api.fault(fault, times=None, path="/me")
    for _ in range(2):
        api.requests.clear()
        with pytest.raises(ApiframeWarehouseError, match="does not tell whether this key does too") as problem:
            sync(settings_for(api, api_key=api.second_key))
        assert (problem.value.exit_code, len(api.requests)) == (1, 2)
    assert here.path.read_bytes() == before
    assert sync(here).run.requests == 1, "its own goes on"


def test_an_account_without_a_team_is_that_of_its_user(api: Sandbox, settings_for: Make, stranger: str) -> None:
    api.fault("no_team", times=None, path="/me")
    chosen = settings_for(api)
    sync(chosen)
    sync(settings_for(api, api_key=api.second_key))
    with pytest.raises(ConfigurationError, match="belongs to user"):
        sync(settings_for(api, api_key=stranger))
    api.clear_faults()
    sync(settings_for(api, scope="team"))
    assert query(chosen.path, "select count(team_id) from apiframe.sync_runs") == [(1,)]


def test_what_was_known_of_an_account_is_not_forgotten_where_less_is_told(
    api: Sandbox, here: Settings, settings_for: Make
) -> None:
    api.fault("no_team", times=None, path="/me")
    sync(settings_for(api, api_key=api.second_key))
    assert query(here.path, "select count(*), count(team_id) from apiframe.sync_runs") == [(2, 2)]


def test_a_first_load_that_was_cut_short_belongs_to_its_account(
    api: Sandbox, settings_for: Make, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.apiframe.reading.BATCH_ROWS", 100)
    api.fault("500", times=None, after=2)
    with pytest.raises(ApiframeWarehouseError, match="500"):
        sync(settings_for(api))
    api.clear_faults()
    with pytest.raises(ConfigurationError, match="belongs to user"):
        sync(settings_for(api, api_key=stranger))
    chosen = settings_for(api, api_key=api.second_key)
    assert "went on where an earlier sync was cut short" in sync(chosen).notes
    assert stale(chosen.path, api) == {}


def test_a_warehouse_of_an_older_version_adopts_the_account_of_the_next_sync(
    api: Sandbox, here: Settings, settings_for: Make, stranger: str
) -> None:
    for file in (here.path, here.path.parent / ".load" / here.path.name):
        with duckdb.connect(str(file)) as connection:
            connection.execute("alter table apiframe.sync_runs drop column user_id")
            connection.execute("alter table apiframe.sync_runs drop column team_id")
    seal_of(here).unlink()
    with pytest.raises(ConfigurationError, match="finds none of the jobs"):
        sync(settings_for(api, api_key=stranger))
    assert sync(here).run.requests == 3, "whose key it is, one of the jobs, the first page"
    assert sync(here).run.requests == 1
    users = query(here.path, "select user_id is null, team_id is null from apiframe.sync_runs order by number")
    assert users == [(True, True), (False, False), (False, False)]
    with pytest.raises(ConfigurationError, match="belongs to user"):
        sync(settings_for(api, api_key=stranger))


def test_a_backup_of_another_account_in_the_place_of_the_file_is_noticed(
    api: Sandbox, here: Settings, settings_for: Make, stranger: str, tmp_path: Path
) -> None:
    """The key is the same as last time; the warehouse is not."""
    theirs = settings_for(api, api_key=stranger, path=str(tmp_path / "theirs.duckdb"))
    for _ in range(3):
        sync(theirs)
    here.path.write_bytes(theirs.path.read_bytes())
    with pytest.raises(ConfigurationError, match="belongs to user"):
        sync(here)
    assert len(stored(here.path)) == 30
