"""Promises 1, 2 and 5: after a sync the warehouse holds what the API serves, for few requests."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import JOBS, microseconds, pages, query, runs, stale, stored

from pipelines.apiframe import reading
from pipelines.apiframe.answers import ApiError
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.sandbox import Sandbox
from pipelines.sandbox.protocol import Refused
from pipelines.settings import Settings
from pipelines.sync import sync

pytestmark = pytest.mark.everywhere
Make = Callable[..., Settings]


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """A quiet account: 250 jobs, the newest ones hours old."""
    with Sandbox(jobs=250, days=20) as api:
        api.advance(timedelta(hours=30))
        yield api


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    """Settings of a warehouse that has had its first load."""
    chosen = settings_for(api)
    sync(chosen)
    api.requests.clear()
    return chosen


def ago(api: Sandbox, **span: float) -> datetime:
    return api.now - timedelta(**span)


# Every field


def test_five_thousand_jobs_of_every_shape_are_stored_as_served(settings_for: Make) -> None:
    with Sandbox(jobs=5000, days=90) as api:
        api.add(3, status="QUEUED")
        api.add(3, status="PROCESSING")
        api.add(2, creditCost=None, result=None)
        api.add(2, result={"images": ["https://x/1.png"], "gridUrl": None, "seed": 1})
        api.add(2, creditCost=10.5, prompt="übermäßig 🎉", nested={"a": [1, None, {"b": False}]})
        chosen = settings_for(api)
        sync(chosen)
        assert stale(chosen.path, api) == {}
        assert len(stored(chosen.path)) == 5012
        kinds = {str(type(job["result"])) + ",".join(job["result"] or ())[:9] for job in api.listing()}
        assert len(kinds) > 5, "the sandbox serves every documented shape of result"


@pytest.mark.gap("postgres", "delta", reason="in DuckDB's words; others have their own")
def test_columns_and_types_are_those_of_the_contract(here: Settings) -> None:
    described = query(here.path, "describe apiframe.jobs")
    assert {name: kind for name, kind, *_ in described} == JOBS


@pytest.mark.gap("postgres", "delta", reason="in DuckDB's words; test_copy has others")
def test_an_empty_account_has_every_column_too(settings_for: Make) -> None:
    with Sandbox(jobs=0) as api:
        chosen = settings_for(api)
        outcome = sync(chosen)
        assert (outcome.jobs, outcome.run.requests, outcome.run.high_water_mark) == (0, 3, None), (
            "the list, its end once more, and whose account it is"
        )
        described = query(chosen.path, "describe apiframe.jobs")
        assert {name: kind for name, kind, *_ in described} == JOBS
        api.add(3)
        assert sync(chosen).run.jobs_new == 3
        assert stale(chosen.path, api) == {}


def test_modality_and_number_of_files_follow_from_catalogue_and_result(api: Sandbox, here: Settings) -> None:
    rows = stored(here.path)
    wrong = [job["id"] for job in api.listing() if rows[job["id"]]["asset_count"] != files_of(job["result"])]
    assert wrong == []
    catalogue = dict(query(here.path, "select id, modality from apiframe.models"))
    assert {row["model"]: row["modality"] for row in rows.values()}.items() <= catalogue.items()


def files_of(result: object) -> int:
    if not isinstance(result, dict):
        return 0 if result is None else 1
    found = next(result[name] for name in ("images", "videos", "tracks", "videoUrl") if name in result)
    return len(found) if isinstance(found, list) else 1


# Counts


def test_counts_in_sync_runs_are_true(api: Sandbox, here: Settings) -> None:
    opened = api.add(5, status="PROCESSING")
    sync(here)
    api.requests.clear()
    api.finish(opened[:3])
    api.add(4, status="COMPLETED")
    api.fault("503", times=2)
    newest = max(microseconds(job["createdAt"]) for job in api.listing())
    listed = sum(job["status"] in ("QUEUED", "PROCESSING") for job in api.listing())
    outcome = sync(here)
    first, _, last = runs(here.path)
    assert (first["mode"], first["jobs_new"], first["jobs_read"]) == ("first", 250, 250)
    assert (last["mode"], last["scope"], last["since"]) == ("incremental", "user", None)
    assert last["requests"] == len(api.requests) == outcome.run.requests
    assert last["retries"] == 2
    assert last["jobs_read"] == 100 * (api.count() - 2), "full pages, but for the two that failed"
    assert (last["jobs_new"], last["jobs_finished"], last["open_jobs"]) == (4, 3, listed)
    assert last["high_water_mark"] == newest
    assert first["started_at"] <= last["started_at"] <= last["finished_at"]


def test_credits_added_are_what_jobs_cost_less_refunds(api: Sandbox, here: Settings) -> None:
    opened = api.add(1, status="PROCESSING", creditCost=40)
    api.add(2, status="COMPLETED", creditCost=7)
    assert sync(here).credits_added == 14
    api.finish(opened)
    assert sync(here).credits_added == 40
    api.put(opened[0], status="FAILED", creditCost=0)
    assert sync(here).credits_added == Decimal(-40)
    api.put(opened[0], creditCost=38)
    assert sync(here).credits_added == 38, "a failed job costs what the API says"
    assert query(here.path, "select id, credits from reports.refunds_due") == [(opened[0], 38)]


# Cheap


def test_an_idle_account_costs_one_request_and_does_not_rewrite_rows(api: Sandbox, here: Settings) -> None:
    before = stored(here.path)
    api.advance(timedelta(hours=2))
    outcome = sync(here)
    assert (len(api.requests), outcome.run.jobs_new, outcome.run.jobs_finished) == (1, 0, 0)
    assert stored(here.path) == before, "not even synced_at"


def test_250_new_jobs_cost_four_requests(api: Sandbox, here: Settings) -> None:
    api.add(250)
    sync(here)
    assert len(api.requests) <= 4
    assert stale(here.path, api) == {}


# Rows that change


def test_old_open_jobs_are_looked_up(settings_for: Make) -> None:
    with Sandbox(jobs=400, days=20) as api:
        api.advance(timedelta(days=13))
        old = [api.add(1, status=status, created_at=ago(api, days=20))[0] for status in ("QUEUED", "PROCESSING")]
        chosen = settings_for(api)
        sync(chosen)
        api.put(old[0], progress=77, status="PROCESSING")
        api.finish(old[1:], "FAILED")
        outcome = sync(chosen)
        assert outcome.run.jobs_finished == 1
        assert outcome.run.requests <= 5
        assert stale(chosen.path, api) == {}
        api.finish(old)
        sync(chosen)
        assert stale(chosen.path, api) == {}


@pytest.mark.parametrize("status", [400, 404, 422])
def test_where_the_api_does_not_search_old_open_jobs_are_paged_to(
    settings_for: Make, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(jobs=400, days=20) as api:
        page = api._page

        def refuse(query: dict[str, str], *of: Any) -> Any:
            if "search" in query:
                raise Refused(status, "not here")
            return page(query, *of)

        monkeypatch.setattr(api, "_page", refuse)
        api.advance(timedelta(days=13))
        old = [api.add(1, status="PROCESSING", created_at=ago(api, days=20))[0] for _ in range(3)]
        chosen = settings_for(api)
        sync(chosen)
        api.finish(old[:1])
        api.delete(old[1:2])
        assert sync(chosen).delisted == 1
        assert stale(chosen.path, api) == {}


def test_many_old_open_jobs_are_read_from_the_lists_of_open_jobs(settings_for: Make) -> None:
    with Sandbox(jobs=1000, days=30) as api:
        api.advance(timedelta(days=13))
        old = [
            api.add(1, status=status, created_at=ago(api, days=14 + i / 3))[0]
            for i in range(30)
            for status in ("QUEUED", "PROCESSING")
        ]
        chosen = settings_for(api)
        sync(chosen)
        api.requests.clear()
        for number, job in enumerate(old):
            api.put(job, progress=number)
        sync(chosen)
        assert {request.query.get("status") for request in api.requests} == {None, "QUEUED", "PROCESSING"}
        assert len(api.requests) <= 4
        assert stale(chosen.path, api) == {}
        api.finish(old, "CANCELLED")
        sync(chosen)
        assert stale(chosen.path, api) == {}


def test_a_job_finished_within_settle_after_is_read_again(api: Sandbox, here: Settings) -> None:
    job = api.add(1, status="COMPLETED")[0]
    sync(here)
    api.add(150)
    api.advance(timedelta(minutes=50))
    api.put(job, creditCost=3, error="late", result={"images": []})
    sync(here)
    assert stale(here.path, api) == {}
    # Now it was seen long after it ended: settled, not read again below the first page.
    api.advance(timedelta(hours=3))
    api.add(1)
    sync(here)
    api.put(job, creditCost=99)
    api.add(150)
    sync(here)
    assert stored(here.path)[job]["credit_cost"] == 3


def test_a_pending_webhook_keeps_a_finished_job_unsettled_for_a_week(settings_for: Make) -> None:
    with Sandbox(jobs=150, days=3) as api:
        api.advance(timedelta(days=10))
        fresh = api.add(1, status="COMPLETED", webhookStatus="pending", created_at=ago(api, days=6.9))[0]
        stalest = api.add(1, status="COMPLETED", webhookStatus="pending", created_at=ago(api, days=7.1))[0]
        api.add(250, created_at=ago(api, days=2), status="COMPLETED")
        for job in (fresh, stalest):
            api.put(job, completedAt=ago(api, days=6).isoformat())
        chosen = settings_for(api)
        sync(chosen)
        for job in (fresh, stalest):
            api.put(job, webhookStatus="delivered")
        sync(chosen)
        assert set(stale(chosen.path, api)) == {stalest}
        assert sync(chosen).run.requests == 1


def test_an_old_job_that_ends_with_its_webhook_pending_is_followed_as_long_as_any_other(
    api: Sandbox, settings_for: Make
) -> None:
    job = api.add(1, status="PROCESSING", created_at=ago(api, days=9), creditCost=80)[0]
    chosen = settings_for(api)
    sync(chosen)
    api.put(job, status="COMPLETED", webhookStatus="pending", completedAt=api.now.isoformat())
    sync(chosen)
    api.advance(timedelta(minutes=5))
    api.put(job, status="FAILED", creditCost=0)
    sync(chosen)
    assert stale(chosen.path, api) == {}


def test_an_unknown_status_is_not_final_for_a_week(settings_for: Make) -> None:
    with Sandbox(jobs=150, days=3) as api:
        api.advance(timedelta(days=10))
        fresh, stalest = (
            api.add(1, status="ARCHIVING", completedAt=None, created_at=ago(api, days=days))[0] for days in (6.9, 7.1)
        )
        api.add(250, created_at=ago(api, days=2), status="COMPLETED")
        chosen = settings_for(api)
        sync(chosen)
        assert stored(chosen.path)[fresh]["status"] == "ARCHIVING"
        for job in (fresh, stalest):
            api.put(job, status="COMPLETED")
        sync(chosen)
        assert set(stale(chosen.path, api)) == {stalest}


@pytest.mark.parametrize("minutes", [5, 58])
def test_jobs_that_become_visible_late_are_caught(api: Sandbox, here: Settings, minutes: int) -> None:
    # A full page of jobs above it, and none below it that has to be looked at for a reason of its own.
    api.add(100)
    sync(here)
    late = api.add(1, created_at=ago(api, minutes=minutes), status="COMPLETED")[0]
    assert sync(here).run.jobs_new == 1
    assert late in stored(here.path)
    assert stale(here.path, api) == {}


def test_settle_after_is_a_setting(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api, settle_after="5h")
    api.add(20)
    sync(chosen)
    api.add(150)
    late = api.add(1, created_at=ago(api, hours=4.8))[0]
    sync(chosen)
    assert late in stored(chosen.path)


# No longer listed


def test_jobs_that_are_no_longer_listed_keep_their_rows(api: Sandbox, here: Settings) -> None:
    recent = api.add(1, status="PROCESSING")[0]
    sync(here)
    kept = stored(here.path)[recent]
    api.delete([recent])
    outcome = sync(here)
    row = stored(here.path)[recent]
    assert outcome.delisted == 1
    assert row["delisted_at"] is not None
    assert row["synced_at"] == row["delisted_at"]
    assert {**row, "delisted_at": None, "synced_at": None, "_dlt_load_id": None} == {
        **kept,
        "synced_at": None,
        "_dlt_load_id": None,
    }
    assert runs(here.path)[-1]["open_jobs"] == sum(job["status"] in ("QUEUED", "PROCESSING") for job in api.listing())
    assert sync(here).delisted == 0, "it is settled"


def test_an_old_open_job_that_is_gone_is_delisted_and_one_that_comes_back_is_listed(settings_for: Make) -> None:
    with Sandbox(jobs=300, days=20) as api:
        api.advance(timedelta(days=13))
        old = api.add(1, status="PROCESSING", created_at=ago(api, days=25))[0]
        chosen = settings_for(api)
        sync(chosen)
        world = api._world
        row = world.row(old)
        api.delete([old])
        assert sync(chosen).delisted == 1
        world._gone[row] = 0
        world._list(row)
        sync(chosen, full=True)
        assert stored(chosen.path)[old]["delisted_at"] is None
        assert stale(chosen.path, api) == {}


# Full, since


def test_full_repairs_and_reports_what_had_drifted(api: Sandbox, here: Settings) -> None:
    settled = [job["id"] for job in api.listing()[120:]]
    api.put(settled[0], creditCost=1234)
    api.put(settled[1], creditCost=1235, error="amended")
    api.put(settled[2], novelty=True)
    api.delete(settled[3:5])
    born = api.add(2)
    incremental = sync(here)
    assert incremental.run.jobs_new == 2
    assert set(stale(here.path, api)) == set(settled[:3])
    outcome = sync(here, full=True)
    assert (outcome.run.mode, outcome.drifted, outcome.delisted) == ("full", 3, 2)
    assert outcome.drift == {"credit_cost": 2, "error": 1, "extra": 1}
    assert outcome.run.jobs_read == 250
    assert stale(here.path, api) == {}
    rows = stored(here.path)
    assert [rows[job]["delisted_at"] is not None for job in (*settled[3:5], *born)] == [True, True, False, False]
    again = sync(here, full=True)
    assert (again.drifted, again.drift, again.delisted) == (0, {}, 0)


def test_what_an_open_job_goes_on_to_do_is_no_drift(api: Sandbox, here: Settings) -> None:
    [job] = api.add(1, status="PROCESSING")
    sync(here)
    api.put(job, progress=55)
    for outcome in (sync(here, full=True), sync(here, full=True)):
        assert (outcome.drifted, outcome.drift) == (0, {})
    assert stored(here.path)[job]["progress"] == 55


@pytest.mark.parametrize("jobs", [0, 5])
def test_full_where_nothing_was_loaded_yet_is_a_first_load(settings_for: Make, jobs: int) -> None:
    with Sandbox(jobs=jobs) as api:
        chosen = settings_for(api)
        assert sync(chosen, full=True).run.mode == "first"
        assert stale(chosen.path, api) == {}
        assert sync(chosen, full=True).run.mode == "full"


def test_since_limits_a_first_load_and_those_after_it(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    api.advance(timedelta(days=1))
    since = ago(api, days=10)
    outcome = sync(chosen, since=microseconds(since))
    inside = {job["id"] for job in api.listing() if datetime.fromisoformat(job["createdAt"]) >= since}
    assert set(stored(chosen.path)) == inside
    assert 0 < len(inside) < 250
    assert outcome.run.requests <= pages(len(inside)) + 2
    api.add(1)
    assert sync(chosen).run.jobs_new == 1
    assert min(row["created_at"] for row in stored(chosen.path).values()) >= microseconds(since)
    # Asked for: further back, then everything.
    sync(chosen, since=microseconds(since - timedelta(days=5)))
    assert len(stored(chosen.path)) > len(inside) + 1
    sync(chosen, full=True)
    assert stale(chosen.path, api) == {}


def test_since_has_no_effect_on_a_warehouse_that_goes_back_further(api: Sandbox, here: Settings) -> None:
    outcome = sync(here, since=microseconds(ago(api, days=2)))
    assert outcome.run.mode == "incremental"
    assert "goes back further" in outcome.notes[0]
    assert stale(here.path, api) == {}


# Scope, base_url, models, clock


def test_a_change_of_scope_loads_its_history_and_back_again_is_cheap(
    api: Sandbox, here: Settings, settings_for: Make
) -> None:
    team = settings_for(api, scope="team")
    outcome = sync(team)
    assert outcome.run.mode == "first"
    assert stale(here.path, api, "team") == {}
    mine = {job["id"] for job in api.listing()}
    assert {row["scope"] for job, row in stored(here.path).items() if job in mine} == {"user"}
    assert {row["scope"] for job, row in stored(here.path).items() if job not in mine} == {"team"}
    api.add(2)
    back = sync(here)
    assert (back.run.mode, back.run.jobs_new) == ("incremental", 2)
    assert back.run.requests <= 3
    assert sync(team).run.mode == "incremental"
    assert stale(here.path, api, "team") == {}
    assert [run["scope"] for run in runs(here.path)] == ["user", "team", "user", "team"]


def test_the_jobs_of_others_are_not_delisted_by_a_sync_of_ones_own(
    api: Sandbox, here: Settings, settings_for: Make
) -> None:
    team = settings_for(api, scope="team")
    sync(team)
    assert sync(here, full=True).delisted == 0
    assert stale(here.path, api, "team") == {}


@pytest.mark.gap("postgres", "delta", reason="names the file")
def test_a_warehouse_belongs_to_one_base_url(here: Settings, settings_for: Make) -> None:
    before = here.path.read_bytes()
    with Sandbox(jobs=10) as other, pytest.raises(ConfigurationError, match=r"belongs to .*another warehouse\.path"):
        sync(settings_for(other))
    assert here.path.read_bytes() == before


def test_an_interrupted_first_load_binds_the_warehouse_to_its_base_url(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.apiframe.reading.BATCH_ROWS", 100)
    with Sandbox(jobs=400) as api, Sandbox(jobs=10) as other:
        api.fault("500", times=None, after=2)
        with pytest.raises(Exception, match="500"):
            sync(settings_for(api))
        for scope in ("user", "team"):
            with pytest.raises(ConfigurationError, match="belongs to"):
                sync(settings_for(other, scope=scope))
        api.clear_faults()
        sync(settings_for(api))


@pytest.mark.gap("postgres", "delta", reason="changes the file by hand")
def test_the_catalogue_of_models_is_stored_and_asked_for_once_a_day(api: Sandbox, here: Settings) -> None:
    columns = [name for name, *_ in query(here.path, "describe apiframe.models")]
    assert columns[:3] == ["id", "label", "modality"]
    api.add(1)
    sync(here)
    assert api.count("/models") == 0
    novel = api.add(1, model="novel-1", status="COMPLETED", result={"videoUrl": "https://x/v.mp4"})[0]
    sync(here)
    assert api.count("/models") == 1
    assert stored(here.path)[novel]["modality"] == "video", "its result tells, though the catalogue does not"
    api.add(1, model="novel-1")
    sync(here)
    assert api.count("/models") == 1, "known to be unknown"


def test_a_catalogue_that_cannot_be_read_does_not_stop_a_sync(api: Sandbox, settings_for: Make) -> None:
    api.fault("500", times=None, path="/models")
    chosen = settings_for(api)
    outcome = sync(chosen)
    assert "catalogue of models could not be read" in outcome.notes[0]
    assert stale(chosen.path, api) == {}


def test_the_first_load_of_another_scope_notices_what_is_gone_since_it_was_left_unsettled(
    api: Sandbox, settings_for: Callable[..., Settings]
) -> None:
    gone = api.add(1, status="PROCESSING")[0]
    sync(settings_for(api))
    api.delete([gone])
    team = settings_for(api, scope="team")
    assert sync(team).delisted == 1
    assert stored(team.path)[gone]["delisted_at"] is not None


@pytest.mark.parametrize("days", [0.5, 5, 400])
def test_a_clock_that_was_set_back_loses_nothing(api: Sandbox, here: Settings, days: float) -> None:
    job = api.add(1, status="PROCESSING")[0]
    api.skew = timedelta(days=-days)
    sync(here)
    api.finish([job])
    api.add(130)
    sync(here)
    assert stale(here.path, api) == {}
    api.skew = timedelta(0)
    api.add(130)
    sync(here)
    assert stale(here.path, api) == {}
    assert len(runs(here.path)) == 4


def test_rows_that_do_not_come_newest_first_are_all_read(api: Sandbox, here: Settings) -> None:
    api.order = "shuffled"
    api.add(120)
    outcome = sync(here)
    assert "newest first" in outcome.notes[0]
    assert stale(here.path, api) == {}


@pytest.mark.gap("postgres", "delta", reason="about files")
def test_a_warehouse_under_a_symlink_or_a_partition_like_folder_works(
    api: Sandbox, settings_for: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "year=2026" / "month=11"
    folder.mkdir(parents=True)
    chosen = settings_for(api, path=str(folder / "w.duckdb"))
    sync(chosen)
    api.add(2)
    sync(chosen)
    assert stale(chosen.path, api) == {}
    link = tmp_path / "link.duckdb"
    link.symlink_to(chosen.path)
    api.add(2)
    assert sync(settings_for(api, path=str(link))).run.mode == "incremental"
    assert link.is_symlink()
    assert stale(link, api) == {}


@pytest.mark.gap("postgres", "delta", reason="about files")
def test_a_moved_warehouse_goes_on_where_it_was(
    api: Sandbox, here: Settings, settings_for: Make, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "w.duckdb"
    moved.parent.mkdir()
    shutil.move(here.path, moved)
    api.add(3)
    outcome = sync(settings_for(api, path=str(moved)))
    assert (outcome.run.mode, outcome.run.jobs_new) == ("incremental", 3)
    assert stale(moved, api) == {}


def test_started_at_is_the_time_of_the_api(api: Sandbox, here: Settings) -> None:
    assert abs(runs(here.path)[0]["started_at"] / 1e6 - api.now.astimezone(UTC).timestamp()) < 60


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00.000Z", "1700-01-01T00:00:00.000Z", "2300-01-01T00:00:00.000Z"])
def test_a_misdated_job_is_stored_and_hides_no_other(api: Sandbox, here: Settings, date: str) -> None:
    sync(here)
    api.add(1, created_at=date)
    sync(here, full=True)
    api.advance(timedelta(hours=3))
    api.add(150)
    assert sync(here).run.jobs_new == 150
    assert stale(here.path, api, but=settled_since(api)) == {}


def test_pages_that_come_in_another_order_are_noticed(
    api: Sandbox, here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is newest first, but the second comes before the first: what is newest would never be read."""
    usual = api._rows

    def swapped(narrowed: Any) -> list[int]:
        rows = usual(narrowed)
        return [*rows[100:200], *rows[:100], *rows[200:]]

    monkeypatch.setattr(api, "_rows", swapped)
    api.cursors = "offset"
    sync(here)
    api.add(20)
    outcome = sync(here)
    assert outcome.run.jobs_new == 20
    assert "the jobs did not come newest first, so the whole list was read" in outcome.notes


def test_a_newest_job_that_was_deleted_costs_one_request(api: Sandbox, here: Settings) -> None:
    api.advance(timedelta(days=2))
    newest = api.add(1, status="COMPLETED")
    sync(here)
    api.advance(timedelta(days=2))
    sync(here)
    api.delete(newest)
    assert sync(here).run.requests <= 2


def test_a_mistake_in_error_classes_is_told_before_anything_is_read(api: Sandbox, here: Settings) -> None:
    rules = here.project / ".dlt" / "error_classes.csv"
    rules.parent.mkdir(exist_ok=True)
    for wrong in ("nonsense", "text,reason\n" + "a,b\n" * 1001):
        rules.write_text(wrong)
        with pytest.raises(ConfigurationError, match=r"error_classes\.csv"):
            sync(here)
    assert api.count() == 0


def settled_since(api: Sandbox) -> list[str]:
    """Jobs whose files expired, which is no change that a sync looks for."""
    return [job["id"] for job in api.listing() if job["expired"]]


def test_a_full_sync_that_was_cut_short_starts_over_when_another_scope_was_synced_meanwhile(
    api: Sandbox, here: Settings, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.apiframe.reading.BATCH_ROWS", 100)
    monkeypatch.setattr("pipelines.sync.loading.CHUNK_ROWS", 100)
    for job in api.listing():
        api.put(job["id"], progress=7)
    api.fault("500", None, after=2)
    with pytest.raises(ApiframeWarehouseError):
        sync(here, full=True)
    api.clear_faults()
    sync(settings_for(api, scope="team"))
    outcome = sync(here, full=True)
    assert (outcome.delisted, outcome.notes) == (0, [])
    assert stale(here.path, api) == {}


def test_jobs_that_a_failed_sync_had_stored_are_counted_by_the_next(api: Sandbox, here: Settings) -> None:
    api.add(250)
    api.fault("500", None, after=2)
    with pytest.raises(ApiframeWarehouseError):
        sync(here)
    api.clear_faults()
    assert sync(here).run.jobs_new == 250
    assert sum(run["jobs_new"] for run in runs(here.path)) == len(api.listing())


# Contradictions: what a list leaves out is held against what is known


def refused(settings: Settings, words: str, **how: Any) -> None:
    """Sync in vain: one line with these words, exit code 1, nothing was delisted, and it is no sync that ended well."""
    before = runs(settings.path), delisted(settings)
    file = settings.path.read_bytes() if settings.path.exists() else None
    with pytest.raises(ApiError, match=words) as problem:
        sync(settings, **how)
    assert (problem.value.exit_code, "\n" in str(problem.value)) == (1, False)
    assert (runs(settings.path), delisted(settings)) == before
    assert (settings.path.read_bytes() if settings.path.exists() else None) == file


def come_back(api: Sandbox, ids: list[str]) -> None:
    """Deleted jobs are listed again."""
    world = api._world
    rows = {world.id(row): row for row in range(len(world.created))}
    for job in ids:
        world._gone[rows[job]] = 0
        world._list(rows[job])


def delisted(settings: Settings) -> set[str]:
    return {job for job, row in stored(settings.path).items() if row["delisted_at"] is not None}


@pytest.mark.parametrize("kind", ["early_end", "empty_end"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_end_that_was_none_is_asked_for_again(api: Sandbox, here: Settings, kind: str, after: int) -> None:
    api.add(380)
    api.fault(kind, after=after)
    assert sync(here).run.jobs_new == 380
    assert (stale(here.path, api), delisted(here)) == ({}, set())
    assert len(api.requests) <= 4 + 2


@pytest.mark.parametrize("kind", ["early_end", "empty_end"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_the_end_of_a_first_load_is_asked_for_twice(settings_for: Make, kind: str, after: int) -> None:
    with Sandbox(jobs=250, days=20) as api:
        chosen = settings_for(api)
        api.fault(kind, after=after)
        outcome = sync(chosen)
        assert stale(chosen.path, api) == {}
        assert (outcome.jobs, outcome.run.high_water_mark) == (250, microseconds(api.listing()[0]["createdAt"]))
        assert api.count() <= 3 + 3, "two answers in a row that agree"


def test_a_list_that_stays_cut_short_is_an_error_and_no_job_is_lost(api: Sandbox, here: Settings) -> None:
    born = api.add(250)
    cut = datetime.fromisoformat(api.listing()[120]["createdAt"])
    api.fault("early_end", None, before=cut)
    refused(here, "leaves out .* known to exist, and finds .* by its id: its list was cut short")
    refused(here, "cut short", full=True)
    api.clear_faults()
    sync(here)
    assert (stale(here.path, api), delisted(here)) == ({}, set())
    assert set(born) <= stored(here.path).keys()


def test_a_list_that_stays_cut_short_costs_no_search_for_each_job_that_is_open(settings_for: Make) -> None:
    with Sandbox(jobs=150, days=20) as api:
        api.advance(timedelta(days=13))
        for days in range(300):
            api.add(1, status="PROCESSING", created_at=ago(api, days=20 + days))
        chosen = settings_for(api)
        sync(chosen)
        api.add(250)
        api.fault("early_end", None, before=datetime.fromisoformat(api.listing()[120]["createdAt"]))
        api.requests.clear()
        refused(chosen, "its list was cut short")
        assert api.count() <= 3 + 5, "two pages, the end once more, and five jobs by id"
        api.clear_faults()
        sync(chosen)
        assert (stale(chosen.path, api), delisted(chosen)) == ({}, set())


def test_a_cut_list_is_no_fact_where_no_search_finds_even_what_was_just_listed(api: Sandbox, here: Settings) -> None:
    api.fault("early_end", None, before=datetime.fromisoformat(api.listing()[120]["createdAt"]), blind=True)
    refused(here, "leaves out 1.. jobs known to exist, and does not find .* by its id, which it has just", full=True)
    api.clear_faults()
    sync(here)
    assert (stale(here.path, api), delisted(here)) == ({}, set())


def test_where_the_api_does_not_search_a_full_sync_takes_the_word_of_its_list(api: Sandbox, here: Settings) -> None:
    api.ignore_filters = True
    gone = [job["id"] for job in api.listing()[-3:]]
    api.delete(gone)
    assert sync(here, full=True).delisted == 3
    assert delisted(here) == set(gone)


def test_a_first_load_that_shows_less_than_was_known_is_an_error(
    api: Sandbox, here: Settings, settings_for: Make
) -> None:
    team = settings_for(api, scope="team")
    api.fault("early_end", None, before=datetime.fromisoformat(api.listing("team")[110]["createdAt"]))
    refused(team, "cut short")
    api.clear_faults()
    sync(team)
    assert stale(team.path, api, "team") == {}


def test_an_account_that_looks_empty_is_not_believed_before_a_person_says_so(api: Sandbox, here: Settings) -> None:
    api.fault("empty_end", None)
    refused(here, "leaves out 250 jobs known to exist, and it cannot be asked for them by id: .* sync --full")
    api.clear_faults()
    assert sync(here).run.requests == 1
    api.delete([job["id"] for job in api.listing()])
    refused(here, "sync --full")
    assert sync(here, full=True).delisted == 250
    assert sync(here).run.requests == 1, "an empty account is idle"


def test_a_full_sync_believes_that_an_account_is_empty_in_a_scope_that_was_never_loaded_too(
    api: Sandbox, here: Settings, settings_for: Make
) -> None:
    team = settings_for(api, scope="team")
    api.delete([job["id"] for job in api.listing("team")])
    refused(team, "sync --full")
    assert sync(team, full=True).delisted == 250
    assert sync(team).run.requests == 1


def test_a_full_sync_believes_that_an_account_was_emptied_while_its_first_load_was_cut_short(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    with Sandbox(jobs=450, days=20) as api:
        chosen = settings_for(api)
        api.fault("500", None, after=3)
        with pytest.raises(ApiError):
            sync(chosen)
        api.clear_faults()
        api.delete([job["id"] for job in api.listing()])
        with pytest.raises(ApiError, match="sync --full"):
            sync(chosen)
        sync(chosen, full=True)
        assert delisted(chosen) == stored(chosen.path).keys() != set()
        assert sync(chosen).run.requests == 1


# A list that goes back so far and no further, though searches do


def lists_for(api: Sandbox, **span: float) -> None:
    api.clear_faults()
    api.fault("early_end", None, before=ago(api, **span))


@pytest.fixture
def small(settings_for: Make) -> Iterator[tuple[Sandbox, Settings]]:
    """An account of 60 jobs in a month, which are loaded."""
    with Sandbox(jobs=60, days=30) as api:
        api.finish(job["id"] for job in api.listing() if job["status"] in ("QUEUED", "PROCESSING"))
        api.advance(timedelta(hours=30))
        chosen = settings_for(api)
        sync(chosen)
        yield api, chosen


def test_a_full_sync_finds_how_far_back_the_api_lists_and_others_go_on_from_there(
    small: tuple[Sandbox, Settings], settings_for: Make
) -> None:
    api, chosen = small
    old, gone = api.add(2, status="PROCESSING", created_at=ago(api, days=25))
    sync(chosen, full=True)
    lists_for(api, days=12)
    api.delete([gone])
    api.put(old, progress=31)
    refused(chosen, "leaves out .* finds .* If the API really lists no further back, run sync --full")
    outcome = sync(chosen, full=True)
    assert "the API lists no job that is older than 11 days, though it finds some by id: " in outcome.notes[0]
    assert (stale(chosen.path, api), delisted(chosen)) == ({}, {gone})
    for day in range(3):  # jobs grow older than the list goes back
        api.advance(timedelta(days=4))
        lists_for(api, days=12)
        api.put(old, progress=50 + day)
        assert sync(chosen).run.requests <= 1 + 1 + 4, "the page, the open job by id, and whether the other is back"
        assert (stale(chosen.path, api, but=settled_since(api)), delisted(chosen)) == ({}, {gone})
    assert sync(settings_for(api, scope="team")).run.mode == "first", "it is the same API that lists no further"
    api.finish([old])
    sync(chosen)
    api.advance(timedelta(hours=2))
    lists_for(api, days=12)
    sync(chosen)
    assert sync(chosen).run.requests == 1
    assert stale(chosen.path, api, but=settled_since(api)) == {}


def test_a_full_sync_that_goes_on_finds_it_too(settings_for: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    monkeypatch.setattr("pipelines.sync.loading.CHUNK_ROWS", 100)
    with Sandbox(jobs=450, days=40) as api:
        api.advance(timedelta(hours=30))
        old = api.add(12, status="PROCESSING", created_at=ago(api, days=38))
        odd = api.add(1, status="PROCESSING", created_at=ago(api, days=39))[0]  # the API searches for UUIDs only
        known = [job["id"] for job in api.listing()]
        api.put(odd, id="job-1")
        chosen = settings_for(api)
        sync(chosen)
        for job in known:
            api.put(job, progress=7)
        api.fault("500", None, after=2)
        with pytest.raises(ApiError):
            sync(chosen, full=True)
        lists_for(api, days=30)
        api.put(old[3], progress=31)
        outcome = sync(chosen, full=True)
        assert [note[:20] for note in outcome.notes] == ["went on where an ear", "the API lists no job"]
        assert delisted(chosen) == set()
        assert stored(chosen.path)[old[3]]["progress"] == 31


def test_a_list_that_shows_everything_again_is_held_against_it_again(small: tuple[Sandbox, Settings]) -> None:
    api, chosen = small
    lists_for(api, days=12)
    sync(chosen, full=True)
    api.clear_faults()
    sync(chosen)
    lists_for(api, days=13)
    refused(chosen, "cut short")


def test_a_full_sync_believes_no_end_below_which_new_jobs_may_lie(small: tuple[Sandbox, Settings]) -> None:
    api, chosen = small
    api.advance(timedelta(days=9))
    born = [api.add(1, created_at=ago(api, days=days))[0] for days in (8, 4)]
    lists_for(api, days=12)
    sync(chosen, full=True)
    assert set(born) <= stored(chosen.path).keys()
    api.advance(timedelta(days=9))
    born = [api.add(1, created_at=ago(api, days=days))[0] for days in (8, 4)]
    lists_for(api, days=7.5)
    refused(chosen, "cut short; .* begin another warehouse.path", full=True)
    api.clear_faults()
    sync(chosen)
    assert set(born) <= stored(chosen.path).keys()
    assert delisted(chosen) == set()


def test_a_list_of_less_than_a_week_is_a_fault(small: tuple[Sandbox, Settings]) -> None:
    api, chosen = small
    lists_for(api, days=3)
    refused(chosen, "cut short", full=True)


def test_an_account_that_was_idle_for_longer_than_the_api_lists_goes_on(small: tuple[Sandbox, Settings]) -> None:
    api, chosen = small
    api.advance(timedelta(days=20))
    lists_for(api, days=12)
    refused(chosen, "leaves out 60 jobs .* run sync --full")
    sync(chosen, full=True)
    assert sync(chosen).run.requests == 1
    born = api.add(2)
    assert sync(chosen).run.jobs_new == 2
    assert delisted(chosen) == set()
    assert stale(chosen.path, api, but=set(stored(chosen.path)) - set(born)) == {}


def test_jobs_that_were_really_purged_are_delisted_and_cost_nothing_from_then_on(settings_for: Make) -> None:
    with Sandbox(jobs=90, days=20) as api:
        api.advance(timedelta(hours=30))
        chosen = settings_for(api)
        sync(chosen)
        old = [job["id"] for job in api.listing()[60:]]
        api.delete(old)
        outcome = sync(chosen)
        assert outcome.delisted == 30
        assert outcome.run.requests <= 2 + 2 * 5 + 1, "the page again, five by id twice, one that must be found"
        assert delisted(chosen) == set(old)
        assert sync(chosen).run.requests == 1


@pytest.mark.parametrize("after", [2, 3, 4])
def test_an_empty_page_once_is_no_reason_to_doubt_a_search(small: tuple[Sandbox, Settings], after: int) -> None:
    api, chosen = small
    api.delete([api.listing()[-1]["id"]])
    api.fault("empty_page", after=after)
    outcome = sync(chosen)
    assert (outcome.delisted, outcome.run.requests) == (1, 1 + 1 + 2 + 1 + 1), "the end twice, its id twice, one listed"


def test_purged_jobs_that_cannot_be_searched_for_wait_for_a_full_sync(settings_for: Make) -> None:
    with Sandbox(jobs=20, days=20) as api:
        api.advance(timedelta(hours=30))
        ids = [job["id"] for job in api.listing()]
        for number, job in enumerate(ids):
            api.put(job, id=f"job-{number}")
        chosen = settings_for(api)
        sync(chosen)
        api.delete(ids[17:])
        refused(chosen, "sync --full")
        assert sync(chosen, full=True).delisted == 3
        assert sync(chosen).run.requests == 1


@pytest.mark.parametrize("times", [1, 2, None])
def test_a_search_that_finds_nothing_delists_nothing_unless_it_finds_what_is_listed(
    settings_for: Make, times: int | None
) -> None:
    with Sandbox(jobs=400, days=20) as api:
        api.advance(timedelta(days=13))
        old = api.add(1, status="PROCESSING", created_at=ago(api, days=20))[0]
        chosen = settings_for(api)
        sync(chosen)
        api.put(old, progress=77)
        api.fault("empty_end", times, after=1)
        with contextlib.suppress(ApiError):
            sync(chosen)
        api.clear_faults()
        assert delisted(chosen) == set()
        sync(chosen)
        assert stale(chosen.path, api) == {}


def test_old_open_jobs_are_not_delisted_by_one_empty_answer(api: Sandbox, here: Settings) -> None:
    old = [api.add(1, status="PROCESSING", created_at=ago(api, days=days))[0] for days in range(2, 7)]
    sync(here, full=True)
    for job in old:
        api.put(job, progress=31)
    api.fault("empty_end")
    sync(here)
    assert (stale(here.path, api), delisted(here)) == ({}, set())


@pytest.mark.parametrize("hours", [1, 24, 7 * 24])
def test_a_job_that_comes_back_is_listed_again_and_up_to_date_however_old(settings_for: Make, hours: int) -> None:
    with Sandbox(jobs=400, days=20) as api:
        api.advance(timedelta(days=13))
        old = [api.add(1, status="PROCESSING", created_at=ago(api, days=20 + i))[0] for i in range(14)]
        chosen = settings_for(api)
        sync(chosen)
        api.delete(old)
        assert sync(chosen).delisted == 14
        assert sync(chosen).run.requests == 1
        api.advance(timedelta(hours=hours - 0.1))
        sync(chosen)
        come_back(api, old)
        api.finish(old, "FAILED")
        assert sync(chosen).run.requests == 1, "between the marks an idle account costs one request"
        api.advance(timedelta(hours=0.2))
        sync(chosen)
        assert (stale(chosen.path, api), delisted(chosen)) == ({}, set())
        sync(chosen)
        api.advance(timedelta(hours=2))
        sync(chosen)
        assert sync(chosen).run.requests == 1


def test_delisted_jobs_that_stay_away_are_looked_at_three_times_in_a_week(settings_for: Make) -> None:
    with Sandbox(jobs=400, days=20) as api:
        api.advance(timedelta(days=13))
        old = [api.add(1, status="PROCESSING", created_at=ago(api, days=20 + i))[0] for i in range(14)]
        chosen = settings_for(api)
        sync(chosen)
        api.delete(old)
        sync(chosen)
        prices = []
        for hours in (0.5, 0.6, 1, 20, 3, 1, 70, 70, 8, 1, 200):
            api.advance(timedelta(hours=hours))
            prices.append(sync(chosen).run.requests)
        assert sum(price > 1 for price in prices) == 3
        assert max(prices) <= 1 + 2 * 10 + 1
        assert delisted(chosen) == set(old)


def test_a_job_that_moved_to_the_team_is_delisted_once(api: Sandbox, here: Settings, settings_for: Make) -> None:
    team = settings_for(api, scope="team")
    sync(team)
    job = api.listing()[130]["id"]
    world = api._world
    row = world.row(job)
    world._unlist(row)
    world.owner[row] = 1 - world.owner[row]
    world._list(row)
    assert job not in {job["id"] for job in api.listing()}
    assert sync(here, full=True).delisted == 1
    sync(team, full=True)
    for _ in range(2):
        assert stored(here.path)[job]["scope"] == "team"
        assert sync(here, full=True).delisted == 0
        assert sync(team, full=True).drifted == 0
    assert delisted(here) == set()
