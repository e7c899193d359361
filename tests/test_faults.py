"""Promises 3 and 4: passing faults are ridden out, lasting ones end a sync with one line, and nothing is ever short."""

import contextlib
import resource
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support import JOBS, processes, query, running, runs, stale, stored

from pipelines import exact
from pipelines.apiframe import bodies, reading
from pipelines.errors import ApiframeWarehouseError
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import store_for
from pipelines.sync import sync
from pipelines.tables.models import model_rows

pytestmark = pytest.mark.everywhere
Make = Callable[..., Settings]

#: kind -> options that make it quick
FAULTS = {
    "429": {"retry_after": 0},
    "500": {},
    "502": {},
    "503": {},
    "timeout": {"seconds": 0.01},
    "reset": {},
    "truncated": {},
    "html": {},
    "error_body": {},
    "missing_cursor": {},
    "repeated_cursor": {},
    "no_jobs": {},
    "unordered": {},
    "empty_page": {},
}
HARMLESS_WHILE_THEY_LAST = {"unordered"}  # the whole list is read, and nothing is missing


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """450 jobs, five pages; two old ones are open still."""
    with Sandbox(jobs=450, days=20) as api:
        api.advance(timedelta(days=13))
        for status in ("QUEUED", "PROCESSING"):
            api.add(1, status=status, created_at=api.now - timedelta(days=35))
        api.add(1)
        yield api


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is stored as it comes, so that a first load is cut in the middle of what it stores."""
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)


def fails(settings: Settings) -> str:
    """Sync in vain; the error is one line, exit code 1, and readers see what they saw before."""
    before = settings.path.read_bytes() if settings.path.exists() else None
    with pytest.raises(ApiframeWarehouseError) as problem:
        sync(settings)
    assert (settings.path.read_bytes() if settings.path.exists() else None) == before
    text = str(problem.value)
    assert problem.value.exit_code == 1
    assert text
    assert "\n" not in text
    assert settings.api_key
    assert settings.api_key not in text
    return text


def old_jobs(api: Sandbox) -> list[str]:
    return [job["id"] for job in api.listing()[-2:]]


@pytest.mark.gap("postgres", "delta", reason="of the client alone, and long")
@pytest.mark.parametrize("kind", [*FAULTS, "redirect"])
def test_a_lasting_fault_ends_a_sync_and_a_passing_one_is_ridden_out_at_every_stage(
    api: Sandbox, settings_for: Make, kind: str
) -> None:
    chosen = settings_for(api)

    def lasts(after: int) -> None:
        api.fault(kind, None, after, **FAULTS.get(kind, {}))
        if kind in HARMLESS_WHILE_THEY_LAST:
            sync(chosen)
            assert stale(chosen.path, api) == {}
        else:
            fails(chosen)
        api.clear_faults()

    def passes(*orders: tuple[int, int]) -> None:
        for after, times in orders:
            if kind != "redirect":  # a redirection is an answer, not a passing fault
                api.fault(kind, times, after, **FAULTS[kind])
        sync(chosen)
        assert stale(chosen.path, api) == {}

    lasts(after=0)
    lasts(after=3)  # the middle of a first load
    passes((0, 4), (6, 4))

    for job in old_jobs(api):
        api.put(job, progress=50)
    born = api.add(120)
    lasts(after=0)
    lasts(after=1)
    for job, now in zip(old_jobs(api), born, strict=False):
        api.put(job, progress=51)
        api.put(now, progress=1)
    lasts(after=2)  # the look-up of old open jobs
    api.finish(old_jobs(api)[:1], "FAILED")
    api.put(old_jobs(api)[1], progress=52)
    passes((0, 2), (4, 2))
    assert runs(chosen.path)[-1]["mode"] == "incremental"


@pytest.mark.parametrize("kind", ["500", "html", "missing_cursor", "repeated_cursor", "empty_page"])
def test_a_fault_of_the_lists_of_open_jobs_loses_nothing(settings_for: Make, kind: str) -> None:
    with Sandbox(jobs=900, days=30) as api:
        api.advance(timedelta(days=13))
        old = [
            api.add(1, status=status, created_at=api.now - timedelta(days=14 + i))[0]
            for i in range(14)
            for status in ("QUEUED", "PROCESSING")
        ]
        chosen = settings_for(api)
        sync(chosen)
        api.finish(old[:3], "FAILED")
        for job in old[3:]:
            api.put(job, progress=60)
        api.requests.clear()
        api.fault(kind, None, after=1, **FAULTS[kind])
        with contextlib.suppress(ApiframeWarehouseError):
            sync(chosen)  # it may find a way round, or fail: but never end well and be short
            assert stale(chosen.path, api) == {}
        assert api.requests[1].query["status"] == "QUEUED"
        api.clear_faults()
        api.fault(kind, 2, after=2, **FAULTS[kind])
        for job in old[3:]:
            api.put(job, progress=70)
        sync(chosen)
        assert stale(chosen.path, api) == {}


@pytest.mark.gap("postgres", "delta", reason="of the client alone")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("429", "429"),
        ("500", "500"),
        ("reset", "cannot reach"),
        ("truncated", "cut off"),
        ("html", "text/html"),
        ("error_body", "not with what the API documents"),
        ("redirect", "sends elsewhere"),
        ("missing_cursor", "no nextCursor"),
        ("repeated_cursor", "cursor"),
        ("no_jobs", "no list of jobs"),
        ("empty_page", "nothing new"),
    ],
)
def test_the_error_says_what_the_api_did(api: Sandbox, settings_for: Make, kind: str, words: str) -> None:
    api.fault(kind, None, **FAULTS.get(kind, {}))
    assert words in fails(settings_for(api))


def test_a_server_that_hangs_is_left_after_the_time_out(api: Sandbox, settings_for: Make) -> None:
    api.fault("timeout", None)
    assert "no answer within 0.1 s" in fails(settings_for(api, request_timeout=0.1))
    assert api.count() == 5


def test_a_long_retry_after_ends_the_sync_instead_of_waiting(api: Sandbox, settings_for: Make) -> None:
    api.fault("429", None, retry_after=900)
    assert "asks to wait 900 s" in fails(settings_for(api))
    assert api.count() == 1


@pytest.mark.usefixtures("small_batches")
def test_a_first_load_that_failed_goes_on_where_it_was(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    api.fault("500", None, after=3)
    fails(chosen)
    api.clear_faults()
    api.add(5)
    api.requests.clear()
    outcome = sync(chosen)
    assert "went on where" in outcome.notes[0]
    assert api.count() <= 5, "the first again, for what is new, the one read last, two more, and the end once more"
    assert stale(chosen.path, api) == {}


@pytest.mark.usefixtures("small_batches")
def test_jobs_that_changed_while_a_first_load_was_cut_short_are_read_again(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    fresh = [api.add(1, status="PROCESSING", created_at=api.now - timedelta(minutes=m))[0] for m in (90, 30)]
    api.fault("500", None, after=3)
    fails(chosen)
    api.clear_faults()
    api.advance(timedelta(hours=5))
    api.finish(fresh)
    api.add(230)
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("lie", ["goes round", "goes nowhere", "skips", "ends"])
def test_a_first_load_does_not_go_on_from_a_cursor_that_was_a_lie(
    api: Sandbox, settings_for: Make, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third page of five gives a wrong cursor, and what it leads to is no better. Then the truth is told."""
    chosen = settings_for(api)
    true_page = api._page
    given: list[str] = []

    def page(query: dict[str, str], *of: Any) -> Any:
        if lie == "ends" and query.get("cursor") == "wrong":
            return {"jobs": [], "nextCursor": None, "hasMore": False}
        if query.get("cursor") == "wrong":
            query = query | {"cursor": given[-1] if lie == "skips" else given[0]}
        answer = true_page(query, *of)
        given.append(answer["nextCursor"])
        if len(given) == 3 and lie != "goes round":
            answer["nextCursor"] = "wrong"
        elif len(given) == 4:
            answer["nextCursor"] = {"goes round": given[1], "skips": given[-1]}.get(lie, "wrong")
        return answer

    monkeypatch.setattr(api, "_page", page)
    api.fault("500", None, after=4)  # whatever it makes of that
    fails(chosen)
    api.clear_faults()
    monkeypatch.setattr(api, "_page", true_page)
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.usefixtures("small_batches")
def test_cursors_that_expired_mean_starting_over(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    api.fault("500", None, after=3)
    fails(chosen)
    api.clear_faults()
    api.forget_cursors()
    sync(chosen)
    assert stale(chosen.path, api) == {}


def test_cursors_that_expire_in_the_middle_of_a_load_are_no_end_of_the_list(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    api.on_request = lambda _: api.forget_cursors() if api.count() == 3 else None
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.gap("postgres", "delta", reason="compares bytes of the file")
@pytest.mark.usefixtures("small_batches")
def test_a_full_sync_that_failed_goes_on_and_delists_only_what_is_gone(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    sync(chosen)
    jobs = [job["id"] for job in api.listing()]
    api.put(jobs[400], creditCost=555)
    api.put(jobs[5], creditCost=556)
    api.delete([jobs[300]])
    before = chosen.path.read_bytes()
    api.fault("500", None, after=3)
    with pytest.raises(ApiframeWarehouseError):
        sync(chosen, full=True)
    assert chosen.path.read_bytes() == before
    api.clear_faults()
    outcome = sync(chosen, full=True)
    assert (outcome.run.mode, outcome.delisted) == ("full", 1)
    assert stale(chosen.path, api) == {}


# The disk is full


def _sync_with_small_files(settings: Settings, most_bytes: int, told: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    try:
        sync(settings)
    except ApiframeWarehouseError as problem:
        told.put((problem.exit_code, str(problem)))
    else:
        told.put((0, ""))


def in_small_files(settings: Settings, most_bytes: int) -> tuple[int, str]:
    """Sync in a process that cannot make a file larger than this, as on a disk that is full."""
    told = processes.SimpleQueue()
    with running(_sync_with_small_files, settings, most_bytes, told) as process:
        process.join(60)
        assert process.exitcode == 0
        return told.get()


@pytest.mark.gap("postgres", "delta", reason="about files")
@pytest.mark.parametrize("most_kb", [8, 200, 1500])
def test_a_disk_that_is_full_while_loading_leaves_the_warehouse_as_it_was(
    api: Sandbox, settings_for: Make, most_kb: int
) -> None:
    chosen = settings_for(api)
    sync(chosen)
    api.add(150)
    before = chosen.path.read_bytes()
    code, text = in_small_files(chosen, most_kb * 1024)
    assert (code, "\n" in text) == (1, False)
    assert chosen.path.read_bytes() == before
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.gap("postgres", "delta", reason="about files")
@pytest.mark.parametrize("most_kb", [8, 300, 1000])
def test_a_disk_that_is_full_during_a_first_load_publishes_nothing(
    api: Sandbox, settings_for: Make, most_kb: int
) -> None:
    """With 8 kB there is not even room for an empty database, with 1,000 everything is loaded, but in the log only."""
    chosen = settings_for(api)
    code, text = in_small_files(chosen, most_kb * 1024)
    assert (code, "\n" in text) == (1, False)
    assert not chosen.path.exists()
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.gap("postgres", "delta", reason="about files")
def test_a_disk_that_is_full_while_publishing_leaves_no_half_copy(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings_for(api)
    sync(chosen)
    api.add(3)
    before = chosen.path.read_bytes()

    def full(_source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.stores._publishing.copy", full)
        assert "No space left on device" in fails(chosen)
    assert chosen.path.read_bytes() == before
    assert not list(chosen.path.parent.rglob("*.publishing"))
    assert sync(chosen).run.jobs_new == 0, "it was loaded already"
    assert stale(chosen.path, api) == {}


def test_an_error_of_the_database_is_one_line_too(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings_for(api)

    def broken(*_: object, **__: object) -> None:
        raise duckdb.IOException("IO Error: Could not write\nmore")

    with monkeypatch.context() as patch:
        patch.setattr(type(store_for(chosen)), "_source", broken)
        assert "IO Error" in fails(chosen)
    sync(chosen)
    assert stale(chosen.path, api) == {}


@pytest.mark.usefixtures("small_batches")
def test_jobs_that_cannot_be_searched_for_are_paged_to_when_a_first_load_goes_on(
    api: Sandbox, settings_for: Make
) -> None:
    """The API searches for UUIDs only. One was open when it was read, one had just ended: its cost still changes."""
    chosen = settings_for(api)
    odd, ended = api.add(2, status="PROCESSING", created_at=api.now - timedelta(hours=8))
    api.finish([ended])
    api.put(odd, id="job-1")
    api.put(ended, id="job-2")
    api.add(120, created_at=api.now - timedelta(hours=6), status="COMPLETED")
    api.fault("500", None, after=3)
    fails(chosen)
    api.clear_faults()
    api.finish([odd], "FAILED")
    api.put(ended, creditCost=0)
    api.add(150)
    api.advance(timedelta(hours=9))
    sync(chosen)
    assert stale(chosen.path, api) == {}


# Jobs that are too large, or odd


def whole_warehouse(settings: Settings) -> list[tuple[Any, ...]]:
    columns = ", ".join(name for name in JOBS if name != "synced_at")
    return query(settings.path, f"select {columns} from apiframe.jobs order by id")


def test_a_job_of_too_many_bytes_is_a_row_like_any_other_and_is_not_written_twice(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 2**20)
    monkeypatch.setattr("pipelines.sandbox.moods.OVERSIZE_BYTES", 2**21)
    chosen, big = settings_for(api), api.listing()[120]["id"]
    api.fault("oversize", None, job=big)
    outcome = sync(chosen)
    assert outcome.notes == [f"not read in full: error of job {big}; see its extra"]
    assert set(stale(chosen.path, api)) == {big}
    row = stored(chosen.path)[big]
    assert (row["error"], row["extra"]["unread_error"]["bytes"]) == (None, 2**21 + 2)
    before = whole_warehouse(chosen)
    for full in (False, True):
        outcome = sync(chosen, full=full)
        assert (outcome.drifted, outcome.run.jobs_new, outcome.notes) == (0, 0, [])
    assert whole_warehouse(chosen) == before
    api.clear_faults()
    sync(chosen, full=True)
    assert stale(chosen.path, api) == {}, "it has become readable"


@pytest.mark.parametrize("depth", [300, 1010, 5000])
def test_a_job_that_is_nested_too_deeply_is_kept_as_text_and_is_not_written_twice(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    """The sandbox cannot write such JSON either, so it is put into its answers."""
    deep, odd = b"[" * depth + b"]" * depth, api.listing()[0]["id"]
    api.put(odd, result={"deep": "here"})
    read = bodies.parts
    monkeypatch.setattr(bodies, "parts", lambda *of: iter([b"".join(read(*of)).replace(b'{"deep":"here"}', deep)]))
    chosen = settings_for(api)
    assert sync(chosen).notes == [f"not read in full: result of job {odd}; see its extra"]
    assert set(stale(chosen.path, api)) == {odd}
    row = stored(chosen.path)[odd]
    assert (row["result"], row["extra"]["unread_result"]) == (
        None,
        {"reason": "nested too deeply", "text": deep.decode()},
    )
    before = whole_warehouse(chosen)
    for full in (False, True):
        assert sync(chosen, full=full).drifted == 0
    assert whole_warehouse(chosen) == before


def catalogues() -> st.SearchStrategy[Any]:
    """Any JSON where a catalogue may hold it: Decimals for numbers with many digits, as they are decoded."""
    numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.decimals(allow_nan=False)
    near = st.sampled_from([1e13, 1e14, Decimal("99999999999999.99999"), Decimal("1e400"), Decimal("1e-400"), True])
    text = st.text(st.characters(codec="utf-8"), max_size=9) | st.just("a\0") | st.just("x" * 10_000)
    value = st.none() | st.booleans() | numbers | near | text | st.lists(text, max_size=2)
    entry = st.fixed_dictionaries(
        {"id": text},
        optional=dict.fromkeys(("label", "modality", "pricingMode", "costMin", "costMax", "more"), value),
    )
    return st.lists(entry, max_size=6)


def test_an_odd_catalogue_is_stored_as_far_as_it_can_be_and_the_jobs_with_it(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = rb"""[
        {"id": "fine", "label": "Fine", "modality": "image", "pricingMode": "flat", "costMin": 1.5, "costMax": 2},
        {"id": "odd", "label": 7, "modality": ["image"], "costMin": true, "costMax": 99999999999999.99999},
        {"id": "odder", "label": "\ud800 \u001b[31m 'x'; --", "costMin": 1e999, "costMax": -1, "more": {"a": null}},
        {"id": "odd", "costMin": 3}
    ]"""
    monkeypatch.setattr(api, "_models", lambda _: {"models": orjson.Fragment(served)})
    chosen = settings_for(api)
    sync(chosen)
    assert stale(chosen.path, api) == {}
    columns = "id, label, modality, pricing_mode, cost_min, cost_max"
    odd = f"select {columns} from apiframe.models where id in ('fine', 'odd', 'odder') order by id"
    assert query(chosen.path, odd) == [
        ("fine", "Fine", "image", "flat", Decimal("1.5"), Decimal(2)),
        ("odd", None, None, None, Decimal(3), None),
        ("odder", "\ufffd \x1b[31m 'x'; --", None, None, None, Decimal(-1)),
    ]
    named = {job["model"] for job in api.listing() if job["model"]}
    assert {model for (model,) in query(chosen.path, "select id from apiframe.models")} >= named


@given(models=catalogues(), named=st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=3))
@example(models=[{"id": "a", "costMin": True, "costMax": Decimal("99999999999999.99999")}], named=["a", "b"])
@hypothesis_settings(max_examples=30, deadline=None)
def test_no_catalogue_fails_a_sync(models: list[dict[str, Any]], named: list[str]) -> None:
    decoded = exact.decode(exact.encode(models).replace("Infinity", "1e999").encode())
    rows = list(model_rows(decoded, named, 0))
    assert {row[0] for row in rows} == {model["id"] for model in decoded} | set(named)
    decimals = pa.array([number for row in rows for number in row[4:6]], pa.decimal128(18, 4))
    assert len(decimals) == 2 * len(rows), "Delta holds them too"
