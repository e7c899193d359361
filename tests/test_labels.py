"""Labels: who jobs were for, by a file and by rules of the user's; what carries none is always told."""

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from reports.tables import base_tables, insert
from support import query

from pipelines import tables
from pipelines.errors import ConfigurationError
from pipelines.reports import create_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync
from pipelines.tables import Column, Table

Make = Callable[..., Settings]
HEADER = "job_id,label,value\n"
RULES = "label,value,field,contains\n"


def write(chosen: Settings, file: str, text: str | bytes) -> Path:
    path = chosen.project / ".dlt" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def labelled(chosen: Settings) -> dict[tuple[str, str], tuple[Any, ...]]:
    rows = query(chosen.path, "select id, label, value, given_by from reports.labelled_jobs")
    found = {row[:2]: row[2:] for row in rows}
    assert len(found) == len(rows), "a job has a label once"
    return found


@pytest.mark.everywhere
def test_a_file_and_rules_label_jobs_and_what_they_leave_is_a_row_of_its_own(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORTS__TIMEZONE", "Asia/Tokyo")  # for readers too
    with Sandbox(jobs=0) as api:
        chosen = settings_for(api)
        at = datetime(2026, 1, 31, 16, tzinfo=UTC)  # February in Tokyo
        one, two, three = (
            api.add(1, status="COMPLETED", model=model, creditCost=cost, created_at=at)[0]
            for model, cost in (("Flux-Pro", 1.5), ("flux-dev", 2), ("suno", 4))
        )
        write(chosen, "labels.csv", f"{HEADER}{one},project,alpha\n{three},project,it's\ngone,project,beta\n")
        write(
            chosen,
            "label_rules.csv",
            f"{RULES}project,pro,model,PRO\nproject,flux,model,FLUX\nteam,a'b\\,scope,user\nteam,never,model,flux\n",
        )
        sync(chosen)
        assert labelled(chosen) == {
            (one, "project"): ("alpha", "file"),
            (two, "project"): ("flux", "rule"),
            (three, "project"): ("it's", "file"),
            **{(each, "team"): ("a'b\\", "rule") for each in (one, two, three)},
        }
        spend = (
            "select value, cast(month as varchar), jobs, credits from reports.spend_by_label where label = 'project'"
        )
        assert sorted(query(chosen.path, spend), key=lambda row: row[0] or "") == [
            (None, "2026-02-01", 0, Decimal(0)),
            ("alpha", "2026-02-01", 1, Decimal("1.5")),
            ("flux", "2026-02-01", 1, Decimal(2)),
            ("it's", "2026-02-01", 1, Decimal(4)),
        ]
        write(chosen, "labels.csv", f"{HEADER}{three},project,gamma\n")
        (chosen.project / ".dlt" / "label_rules.csv").unlink()
        assert sync(chosen).run.requests == 1, "of the user's own files the API knows nothing"
        assert labelled(chosen) == {
            (one, "project"): (None, None),
            (two, "project"): (None, None),
            (three, "project"): ("gamma", "file"),
        }


def test_without_labels_there_are_none_and_nothing_is_written(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings_for(api)
    sync(chosen)
    assert query(chosen.path, "select * from apiframe.labels") == []
    assert query(chosen.path, "select * from reports.spend_by_label") == []
    written: list[str] = []
    monkeypatch.setattr("pipelines.stores.duckdb.DuckDBStore.write", lambda _, table, rows: written.append(table.name))
    assert sync(chosen).run.requests == 1
    assert written == ["sync_runs"]


def test_labels_are_written_only_where_the_file_has_changed(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings_for(api)
    write(chosen, "labels.csv", HEADER + "a,project,x\nb,project,y\n")
    sync(chosen)
    written: list[str] = []
    monkeypatch.setattr("pipelines.stores.duckdb.DuckDBStore.write", lambda _, table, rows: written.append(table.name))
    write(chosen, "labels.csv", HEADER + "b,project,y\na,project,x\n")
    sync(chosen)
    assert written == ["sync_runs"]
    write(chosen, "labels.csv", HEADER + "a,project,x\n")
    sync(chosen)
    assert written == ["sync_runs", "labels", "sync_runs"]


def test_of_several_values_the_first_counts_and_the_others_are_counted(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    one, two = (job["id"] for job in api.listing()[:2])
    lines = [f"{one},project,b", f"{one},project,a", f"{one},project,b", f"{one},project,c", f"{one},client,x"]
    write(chosen, "labels.csv", HEADER + "\n".join([*lines, f"{two},project,b", f"{two},project,b", "gone,client,1"]))
    sync(chosen)
    assert query(chosen.path, "select * from apiframe.labels order by all") == [
        *sorted([(one, "client", "x", 0), (one, "project", "b", 2), (two, "project", "b", 0)]),
        ("gone", "client", "1", 0),
    ]
    conflicts = "select label, value, sum(jobs_in_conflict)::int from reports.spend_by_label group by all order by all"
    assert query(chosen.path, conflicts) == [
        ("client", "x", 0),
        ("client", None, 0),
        ("project", "b", 1),
        ("project", None, 0),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", ":1: the first line must be job_id,label,value"),
        ("job_id;label;value\na;b;c\n", ":1: the first line must be"),
        ("label,value,job_id\n", ":1: the first line must be"),
        (HEADER + "\na,b\n", ":3: a line must hold job_id, label and value, not 'a,b'"),
        (HEADER + "a,b,c,d\n", ":2: a line must hold"),
        (HEADER + "a,b,c\na, ,c\n", ":3: a line must hold"),
        (HEADER + 'a,b,"c\n', ":2: unexpected end of data"),
        (HEADER + "a,b," + "c" * 201, ":2: 'cccccccccccccccccccccccccccccccccccccccc'... is too long: at most 200"),
        (HEADER + "a,b,c\0\n", ":2: 'c\\x00' holds a control character"),
        (HEADER.encode() + b"a,b,c\na,b,\xff\n", ":3: is not UTF-8"),
        (("\ufeff" + HEADER).encode("utf-16"), ":1: is not UTF-8"),
    ],
)
def test_a_bad_line_ends_the_sync_before_anything_is_read(
    api: Sandbox, settings_for: Make, content: str | bytes, told: str
) -> None:
    chosen = settings_for(api)
    file = write(chosen, "labels.csv", content)
    with pytest.raises(ConfigurationError) as problem:
        sync(chosen)
    assert str(problem.value).startswith(f"{file}{told}")
    assert "\n" not in str(problem.value)
    assert problem.value.exit_code == 2
    assert api.count() == 0


def test_a_file_that_no_sync_can_hold_or_read_is_refused(
    api: Sandbox, settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tables.labels.MOST_LINES", 2)
    chosen = settings_for(api)
    file = write(chosen, "labels.csv", HEADER + "a,b,c\n\nb,b,c\nc,b,c\n")
    with pytest.raises(ConfigurationError, match=r"labels\.csv:5: at most 2 lines"):
        sync(chosen)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot read .*labels\.csv: it is no file"):
        sync(chosen)
    assert api.count() == 0


def test_what_spreadsheets_write_is_read(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    write(chosen, "labels.csv", '\ufeffjob_id,label,value\r\n\r\n a , project,"Müller, ""A"" 🎨"\r\n,,\r\nb,project,x')
    write(chosen, "label_rules.csv", "\ufefflabel, value,field,contains\r\n\r\nteam,x,model,a\r\n")
    sync(chosen)
    assert query(chosen.path, "select job_id, value from apiframe.labels order by 1") == [
        ("a", 'Müller, "A" 🎨'),
        ("b", "x"),
    ]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("team,x,prompt,a", ":2: field 'prompt' must be model, modality, error, scope, input.<path>, created_after or"),
        ("team,x,input.,a", ":2: field 'input.' must be"),
        ("team,x,input.a..b,a", ":2: field"),
        ("team,x,input.it's,a", ":2: field"),
        ("team,x,model,", ":2: a line must hold label, value, field and contains"),
        ("team,x,created_after,soon", ":2: 'soon' must be a date, or a time like"),
        ("team,x,created_after,2026-02-30", ":2: '2026-02-30' must be"),
        ("team,x,created_before,20260301", ":2: '20260301' must be"),
        ("team,x,created_before,2026-03-01T25:00", ":2: '2026-03-01T25:00' must be"),
        ("team,x,created_before,0001-01-01T00:00+09:00", ":2: '0001-01-01T00:00+09:00' must be"),
        ("team,x,model," + "a" * 201, ":2: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'... is too long"),
        ("team,x,model,a\n" * 1001, ":1002: at most 1,000 lines"),
    ],
)
def test_a_bad_rule_ends_the_sync_before_anything_is_read(
    api: Sandbox, settings_for: Make, rule: str, told: str
) -> None:
    chosen = settings_for(api)
    file = write(chosen, "label_rules.csv", RULES + rule)
    with pytest.raises(ConfigurationError) as problem:
        sync(chosen)
    assert str(problem.value).startswith(f"{file}{told}")
    assert api.count() == 0


@pytest.mark.parametrize(
    ("timezone", "rules", "labelled"),
    [
        ("UTC", ["a,created_after,2026-03-29"], "..a"),
        ("UTC", ["a,created_before,2026-03-29", "b,created_after,2026-03-29"], "aab"),
        ("Europe/Berlin", ["a,created_after,2026-03-29"], ".aa"),
        ("Asia/Tokyo", ["a,created_after,2026-03-29"], "aaa"),
        ("Europe/Berlin", ["a,created_before,2026-03-29T00:30"], "a.."),  # 23:30 UTC, itself not before
        ("Europe/Berlin", ["a,created_after,2026-03-29 00:30:00"], ".aa"),
        ("Europe/Berlin", ["a,created_after,2026-03-29T00:30:00.000001"], "..a"),
        ("Europe/Berlin", ["a,created_after,2026-03-29T02:00:00+01:00"], "..a"),
        ("Europe/Berlin", ["a,created_after,2026-03-28T23:30:00Z"], ".aa"),
    ],
)
def test_days_and_times_of_rules_are_those_of_the_reports_zone(
    timezone: str, rules: list[str], labelled: str, tmp_path: Path
) -> None:
    times = ["2026-03-28T22:59:59Z", "2026-03-28T23:30:00Z", "2026-03-29T01:00:00Z"]
    file = tmp_path / "label_rules.csv"
    file.write_text(RULES + "".join(f"when,{rule}\n" for rule in rules))
    with base_tables() as connection:
        insert(connection, "jobs", [{"id": f"{place}", "created_at": at} for place, at in enumerate(times)])
        create_views(connection, timezone, labels=file)
        found = connection.execute("select coalesce(value, '.') from reports.labelled_jobs order by id").fetchall()
    assert "".join(value for (value,) in found) == labelled


def test_every_field_of_a_job_can_be_asked_in_any_case_and_null_meets_no_rule(tmp_path: Path) -> None:
    job = {"status": "FAILED", "created_at": "2026-01-01T00:00:00Z"}
    fields = {"model": "It's {double(1)} 50%", "modality": "Video", "error": "NSFW\ncontent", "scope": "team"}
    texts = {"model": "IT'S {DOUBLE(1)} 50%", "modality": "DEO", "error": "nsfw", "scope": "TEAM"}
    file = tmp_path / "label_rules.csv"
    file.write_text(RULES + "".join(f'{name},hit,{name},"{text}"\n' for name, text in texts.items()))
    with base_tables() as connection:
        insert(connection, "jobs", [{"id": "null", **job}, {"id": "full", **job, **fields}])
        create_views(connection, "UTC", labels=file)
        found = connection.execute("select id, label from reports.labelled_jobs where value = 'hit'").fetchall()
    assert sorted(found) == [("full", name) for name in sorted(fields)]


def parquet(file: Path, select: str) -> None:
    file.parent.mkdir(exist_ok=True, parents=True)
    duckdb.sql(f"copy ({select}) to '{file}' (format parquet)")


def test_labels_come_from_a_table_of_the_users_own(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api, labels_from="own=1/what [is]*.parquet")
    file = chosen.project / "own=1" / "what [is]*.parquet"
    parquet(file, "select 7 as value, ' a ' as job_id, 'project' as label union all select 8, 'a', 'project'")
    sync(chosen)
    assert query(chosen.path, "select * from apiframe.labels") == [("a", "project", "7", 1)]
    (chosen.project / "own.csv").write_text(HEADER + "b,project,x\n")
    sync(settings_for(api, labels_from="own.csv"))
    assert query(chosen.path, "select * from apiframe.labels") == [("b", "project", "x", 0)]


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ("select 'a' as job_id, 'b' as label", "must have the columns job_id, label, value, not ['job_id', 'label']"),
        ("select 'a' as job_id, 'b' as label, 1 as value, 2 as extra", "must have the columns"),
        ("select 'a' as job_id, 'b' as label, null as value", ":1: a row must hold job_id, label, value"),
        ("select 'a' as job_id, 'b' as label, repeat('c', 201) as value", ":1: 'ccc"),
    ],
)
def test_a_table_that_holds_no_labels_is_refused(api: Sandbox, settings_for: Make, select: str, told: str) -> None:
    chosen = settings_for(api, labels_from="own.parquet")
    parquet(chosen.project / "own.parquet", select)
    with pytest.raises(ConfigurationError) as problem:
        sync(chosen)
    assert told in str(problem.value)
    assert "own.parquet" in str(problem.value)
    assert api.count() == 0


def test_a_table_that_is_not_there_or_a_second_source_is_refused(api: Sandbox, settings_for: Make) -> None:
    for name in ("gone.parquet", "gone.csv"):
        with pytest.raises(ConfigurationError, match=rf"{name}"):
            sync(settings_for(api, labels_from=name))
    chosen = settings_for(api, labels_from="own.parquet")
    (chosen.project / "own.parquet").write_text("no parquet")
    with pytest.raises(ConfigurationError, match=r"reports\.labels_from: cannot read .*own\.parquet"):
        sync(chosen)
    write(chosen, "labels.csv", HEADER)
    with pytest.raises(ConfigurationError, match="labels are given twice"):
        sync(chosen)
    assert api.count() == 0


def test_a_new_job_of_a_known_label_is_labelled_when_it_comes(api: Sandbox, settings_for: Make) -> None:
    chosen = settings_for(api)
    write(chosen, "labels.csv", HEADER + "late,project,x\n")
    sync(chosen)
    assert query(chosen.path, "select count(*) from reports.labelled_jobs where value = 'x'") == [(0,)]
    api.advance(timedelta(minutes=1))
    api.add(1, id="late")
    sync(chosen)
    assert labelled(chosen)["late", "project"] == ("x", "file")


INPUTS = [
    '{"Style": {"name": "RAW it\'s"}, "n": 3, "on": true}',
    '{"style": {"name": "raw"}, "list": ["x", "Raw"]}',
    '{"style": "raw \\u0000 \\\\u0000", "n": null}',
    None,
]


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch, destination: str) -> list[tuple[str, str | None]]:
    """What the table job_inputs is given at the next sync: id and input."""
    given: list[tuple[str, str | None]] = []
    columns = (Column("id", "VARCHAR", "Which."), Column("input", "JSON", "What."))
    table = Table("job_inputs", "A row a job.", columns, mode="replace", key=("id",), rows=lambda _: given)
    known = tables.tables() | {table.name: table}
    for module in ("tables", "sync.conductor", "reports.label_rules", "stores.duckdb", f"stores.{destination}"):
        monkeypatch.setattr(f"pipelines.{module}.tables", lambda: known, raising=False)
    if destination == "delta":
        monkeypatch.setitem(importlib.import_module("pipelines.stores.delta").KNOWN, table.name, table)
    return given


@pytest.mark.everywhere
def test_rules_ask_any_path_of_the_input(settings_for: Make, inputs: list[tuple[str, str | None]]) -> None:
    rules = {
        "name": ("input.style.name", "RAW", [1]),
        "Name": ("input.Style.name", "it's", [0]),
        "n": ("input.n", "3", [0]),
        "on": ("input.on", "true", [0]),
        "list": ("input.list", "raw", [1]),
        "json": ("input.style", "raw", [1, 2]),
        "gone": ("input.gone-by.x", "a", []),
    }
    with Sandbox(jobs=0) as api:
        chosen = settings_for(api)
        ids = [api.add(1)[0] for _ in range(5)]
        inputs.extend(zip(ids, INPUTS, strict=False))
        inputs.append((ids[1], INPUTS[1]))  # twice, as no sync should leave it
        lines = [f"{label},hit,{field},{contains}\n" for label, (field, contains, _) in rules.items()]
        write(chosen, "label_rules.csv", RULES + "".join(lines))
        sync(chosen)
    found = labelled(chosen)
    assert len(found) == 5 * len(rules)
    for label, (_, _, hit) in rules.items():
        assert [place for place, each in enumerate(ids) if found[each, label][0] == "hit"] == hit, label


def test_without_inputs_a_rule_that_asks_for_them_meets_no_job_and_its_label_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: table for name, table in tables.tables().items() if name != "job_inputs"}
    monkeypatch.setattr("pipelines.reports.label_rules.tables", lambda: known)
    file = tmp_path / "label_rules.csv"
    file.write_text(RULES + "style,raw,input.style,raw\nstyle,rest,created_after,2020-01-01\nother,x,input.x,x\n")
    with base_tables() as connection:
        insert(connection, "jobs", [{"id": "a", "created_at": "2026-01-01T00:00:00Z"}])
        create_views(connection, "UTC", labels=file)
        found = connection.execute("select label, value from reports.labelled_jobs order by label").fetchall()
    assert found == [("other", None), ("style", "rest")]
