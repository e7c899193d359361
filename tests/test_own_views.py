"""Files of views: what is wrong with one is said with its line before anything is read; a user's own stops no sync."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import query

from pipelines import reports
from pipelines.errors import ConfigurationError
from pipelines.reports import macros, render
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync

Make = Callable[..., Settings]
GOOD = """-- One row per model.
-- Needs: reports.jobs
-- Columns:
--   model: model id
--   jobs: its jobs
select
    model,
    count(*) as jobs
from reports.jobs
group by model
"""


@pytest.fixture
def here(api: Sandbox, settings_for: Make) -> Settings:
    return settings_for(api)


@pytest.fixture
def own(here: Settings) -> Path:
    """The folder of the user's views."""
    folder = here.project / ".dlt" / "views"
    folder.mkdir(parents=True)
    return folder


def test_something_else_in_the_place_of_the_folder_is_told(here: Settings) -> None:
    folder = here.project / ".dlt" / "views"
    folder.parent.mkdir()
    folder.write_text("select 1")
    assert sync(here).notes == [f"{folder} is no folder: the views of your own, files in it, are left out"]
    folder.unlink()
    folder.symlink_to("nowhere")
    assert f"{folder} is no folder" in sync(here).notes[0]
    folder.unlink()
    assert sync(here).notes == []


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of our views, in use, to break."""
    folder = tmp_path / "ours"
    shutil.copytree(reports.FOLDER, folder)
    monkeypatch.setattr(reports, "FOLDER", folder)
    return folder


def made(here: Settings) -> set[str]:
    return {name for (name,) in query(here.path, "select view_name from duckdb_views() where schema_name = 'reports'")}


def test_a_users_view_is_published_described_changed_and_dropped_with_its_file(here: Settings, own: Path) -> None:
    (own / "by_model.sql").write_text(GOOD)
    (own / "a_total.sql").write_text(
        "-- One row.\n-- Needs: reports.by_model\n-- Columns:\n--   n: jobs\n"
        "select sum(jobs) as n from reports.by_model;\n"
    )
    assert sync(here).notes == []
    assert query(here.path, "select n from reports.a_total") == [(1000,)]
    described = "select comment from duckdb_columns() where table_name = 'by_model' and column_name = 'jobs'"
    assert query(here.path, described) == [("its jobs",)]
    (own / "by_model.sql").write_text(GOOD.replace("count(*)", "2 * count(*)"))
    sync(here)
    assert query(here.path, "select n from reports.a_total") == [(2000,)]
    shutil.rmtree(own)
    sync(here)
    assert made(here) == {view.name for view in reports.read_views()}


@pytest.mark.parametrize(
    ("name", "text", "line", "reason"),
    [
        ("mine", GOOD.replace("    model,", "    modell,"), 7, "modell"),
        ("mine", GOOD.replace("group by", "\n\ngroop by"), 12, "syntax error"),
        ("mine", "select 1 as x\n", 1, "must begin with comments"),
        ("mine", "", 1, "must begin with comments"),
        ("mine", GOOD.replace("-- Columns:\n", ""), 1, "must begin with comments"),
        ("mine", GOOD.replace("-- Needs: reports.jobs\n", ""), 1, "-- Needs:"),
        ("mine", GOOD.replace("-- One row per model.\n", ""), 1, "what a row is"),
        ("mine", GOOD.replace("--   jobs: its jobs", "--   jobs, its jobs"), 5, "name of a column"),
        ("mine", GOOD.replace("--   jobs: its", "--   job: its"), 6, "job"),
        ("mine", GOOD[: GOOD.index("select")], 6, "a select is missing"),
        (
            "mine",
            GOOD.replace("count(*)", "{local_dya(created_at)}"),
            8,
            "there is no macro local_dya; there are cost",
        ),
        ("mine", GOOD.replace("count(*)", "{seconds(created_at)}"), 8, "missing a required argument"),
        ("mine", GOOD.replace("count(*)", "{double(count(*)"), 8, "not closed"),
        ("mine", GOOD + "; drop table apiframe.jobs", 11, "without a semicolon"),
        ("mine", GOOD.replace("reports.jobs", "reports.nothing"), 9, "nothing"),
        ("jobs", GOOD, 1, "there is a view jobs already"),
        ("Mine", GOOD, 1, "small letters"),
        ("my view", GOOD, 1, "small letters"),
        ("mine", GOOD.replace("reports.jobs", "reports.mine"), 1, "in a circle"),
    ],
)
def test_a_broken_view_of_the_users_own_is_left_out_with_a_note(
    here: Settings, own: Path, name: str, text: str, line: int, reason: str
) -> None:
    file = own / f"{name}.sql"
    file.write_text(text)
    (own / "works.sql").write_text(GOOD)
    outcome = sync(here)
    assert len(outcome.notes) == 1
    assert outcome.notes[0].startswith(f"a view of your own is left out: {file}:{line}: ")
    assert reason in outcome.notes[0]
    assert "\n" not in outcome.notes[0]
    assert made(here) == {view.name for view in reports.read_views()} | {"works"}
    assert query(here.path, "select sum(jobs) from reports.works") == [(1000,)]
    assert sync(here).notes == outcome.notes, "as long as it is broken"


def test_what_needs_a_view_that_is_left_out_is_left_out_too(here: Settings, own: Path) -> None:
    (own / "base.sql").write_text(GOOD.replace("model,", "modell,"))
    (own / "above.sql").write_text(GOOD.replace("reports.jobs", "reports.base"))
    first, second = sync(here).notes
    assert "base.sql:7: " in first
    assert "above.sql:9: " in second


def test_views_in_a_circle_are_left_out_until_none_is(here: Settings, own: Path) -> None:
    (own / "a.sql").write_text(GOOD.replace("reports.jobs", "reports.b"))
    (own / "b.sql").write_text(GOOD.replace("reports.jobs", "reports.a"))
    (own / "works.sql").write_text(GOOD)
    assert len(sync(here).notes) == 2
    assert "works" in made(here)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda text: text.replace("webhook_status", "webhook_statsu"), r"webhooks\.sql:\d+: .*webhook_statsu"),
        (lambda text: text[text.index("select") :], r"webhooks\.sql:1: it must begin with comments"),
        (
            lambda text: text.replace("select", "select {nothing(1)},", 1),
            r"webhooks\.sql:\d+: there is no macro nothing",
        ),
    ],
)
def test_a_broken_view_of_ours_is_an_error_before_anything_is_read(
    api: Sandbox, here: Settings, ours: Path, wrong: Callable[[str], str], told: str
) -> None:
    sync(here)
    api.requests.clear()
    file = ours / "webhooks.sql"
    file.write_text(wrong(file.read_text()))
    with pytest.raises(ConfigurationError, match=told):
        sync(here)
    assert api.count() == 0


def test_views_that_stand_are_not_tried_again(here: Settings, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "works.sql").write_text(GOOD)
    sync(here)
    monkeypatch.setattr("pipelines.stores.duckdb.empty_tables", pytest.fail)
    assert sync(here).run.requests == 1


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("{two(a, b)}", ["a", "b"]),
        ("{two(coalesce(a, b), [c, d])}", ["coalesce(a, b)", "[c, d]"]),
        ("{two('a, )}''', \"b, )}\")}", ["'a, )}'''", '"b, )}"']),
        ("{two({'k': 1, 'l': 2}, a)}", ["{'k': 1, 'l': 2}", "a"]),
        ("{two(\n  a -- , )}\n  , b /* , */)}", ["a -- , )}", "b /* , */"]),
        ("{two({two(a, b)}, c)}", ["(<a|b>)", "c"]),
    ],
)
def test_an_argument_of_a_macro_is_any_sql(query: str, arguments: list[str]) -> None:
    assert render(query, {"two": lambda one, other: f"<{one}|{other}>"}) == f"(<{'|'.join(arguments)}>)"


def test_text_and_comments_hold_no_macros() -> None:
    query = """select '{double(1)}', "{double(1)}" -- {double(1)} it's
    , {'images': 1} /* ; */"""
    assert render(query, macros("UTC", [])) == query
