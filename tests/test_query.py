"""`query`: every value comes out exact in every format, and nothing that is asked writes anywhere."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines import query, rendering
from pipelines.errors import ConfigurationError
from pipelines.stores.duckdb import connect_readonly

LARGE = ("small_enum", "medium_enum", "large_enum")  # types of 70,000 names; `mood` below is one


@pytest.fixture
def file(isolated: Path) -> Path:
    path = isolated / "some.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema apiframe; create table apiframe.jobs as select 'a' as id, 1 as credit_cost")
    return path


@pytest.fixture
def connection(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect_readonly(file) as connection:
        yield connection


def value(connection: duckdb.DuckDBPyConnection, expression: str) -> tuple[str, Any]:
    """An expression's value as CSV has it, and as JSON has it."""
    result = query.run(connection, f"select {expression} as x")
    text = list(csv.reader(io.StringIO(rendering.render(result, "csv"))))[1:]
    return (text[0][0] if text and text[0] else ""), json.loads(
        rendering.render(result, "json"), parse_constant=pytest.fail, parse_float=str
    )[0]["x"]


@pytest.mark.parametrize(
    ("expression", "text", "plain"),
    [
        (f"{2**128 - 1}::uhugeint", str(2**128 - 1), 2**128 - 1),
        (f"(-{2**127})::hugeint", str(-(2**127)), -(2**127)),
        (f"'{9 * 10**60}'::bignum", str(9 * 10**60), 9 * 10**60),
        (f"'{10**400}'::bignum", str(10**400), 10**400),
        ("18446744073709551615::ubigint", str(2**64 - 1), 2**64 - 1),
        (f"{'9' * 38}::decimal(38, 0)", "9" * 38, int("9" * 38)),
        ("1.50::decimal(9, 2)", "1.50", "1.50"),
        ("sum(5)", "5", 5),
        ("'nan'::double", "nan", "nan"),
        ("'-inf'::float", "-inf", "-inf"),
        ("date '2026-01-31'", "2026-01-31", "2026-01-31"),
        ("date 'infinity'", "infinity", "infinity"),
        ("date '0044-03-15 (BC)'", "0044-03-15 (BC)", "0044-03-15 (BC)"),
        ("date '10000-01-01'", "10000-01-01", "10000-01-01"),
        ("timestamp '-infinity'", "-infinity", "-infinity"),
        ("timestamptz '10000-01-01 00:00:00+00'", "10000-01-01 00:00:00+00", "10000-01-01 00:00:00+00"),
        ("timestamp_s '10000-01-01'", "10000-01-01 00:00:00", "10000-01-01 00:00:00"),
        ("timestamp_ms '2026-01-01 00:00:00.5'", "2026-01-01 00:00:00.500", "2026-01-01T00:00:00.500000"),
        ("timestamp_ns '2026-01-01 00:00:00.123456789'",) + ("2026-01-01 00:00:00.123456789",) * 2,
        ("time '24:00:00'", "24:00:00", "24:00:00"),
        ("timetz '10:00:00+02'", "10:00:00+02", "10:00:00+02"),
        ("time_ns '10:00:00.123456789'",) + ("10:00:00.123456789",) * 2,
        ("interval '90 seconds'", "0:01:30", "90.0"),
        ("interval '1 month 2 days'", "1 month 2 days", "1 month 2 days"),
        ("interval '400 years'", "400 years", "400 years"),
        (r"'a\x00'::blob", r"a\x00", r"a\x00"),
        ("'101'::bit", "101", "101"),
        ("'happy'::enum('sad', 'happy')", "happy", "happy"),
        ("'00000000-0000-0000-0000-00000000000a'::uuid",) + ("00000000-0000-0000-0000-00000000000a",) * 2,
        (f"'{{\"n\":{10**30}.5}}'::json",) + (f'{{"n":{10**30}.5}}',) * 2,
        ("1::variant", "1", "1"),
        ("null", "", None),
        (f"[{2**128 - 1}::uhugeint]", f'["{2**128 - 1}"]', [str(2**128 - 1)]),
        ("{'a b\"': timetz '10:00:00+02', 'n': 1}", '{"a b\\"":"10:00:00+02","n":1}', {'a b"': "10:00:00+02", "n": 1}),
        ("map {'k': date 'infinity'}", '[["k","infinity"]]', [["k", "infinity"]]),
        ("[timestamp '-infinity']::timestamp[1]", '["-infinity"]', ["-infinity"]),
        ("union_value(d := date 'infinity')", "infinity", "infinity"),
        ("[1.5::double, 'nan'::double]", '[1.5,"nan"]', ["1.5", "nan"]),
        ("row('x', 1)", "(x, 1)", "(x, 1)"),
    ],
)
def test_a_value_is_exact(connection: duckdb.DuckDBPyConnection, expression: str, text: str, plain: Any) -> None:
    assert value(connection, expression) == (text, plain)


def test_every_type_of_duckdb_and_its_extremes_come_as_duckdb_has_them(connection: duckdb.DuckDBPyConnection) -> None:
    """A type that a later DuckDB brings has to be right too, before anybody has heard of it."""
    source = f"(select * exclude ({', '.join(LARGE)}) from test_all_types())"
    result = query.run(connection, f"from {source}")
    for form in ("csv", "markdown", "table"):
        assert rendering.render(result, form)
    json.loads(rendering.render(result, "json"), parse_constant=pytest.fail)
    texts = connection.execute(f"select cast(columns(*) as varchar) from {source}").fetchall()
    nested = {"interval", "float", "double"} | {
        name for name, kind in zip(result.columns, connection.sql(f"from {source}").types, strict=True)
        if kind.id in ("list", "array", "struct", "map", "union")
    }  # fmt: skip
    for found, expected in zip(result.rows, texts, strict=True):
        for name, own, theirs in zip(result.columns, found, expected, strict=True):
            if name not in nested:
                text = rendering._text(own)
                assert (text.lower() == theirs.lower()) if theirs is not None else own is None, name
            else:
                assert (own is None) == (theirs is None), name


@pytest.mark.parametrize(
    "sql",
    ["describe apiframe.jobs", "show all tables", "explain select 1", "explain analyze select 1", "pragma version",
     "summarize apiframe.jobs", "pivot apiframe.jobs on id using count(*)", "select 1; select 2",
     "call pragma_version()", "set timezone = 'Asia/Kolkata'; select now()", "values (1)",
     "set variable x = 7; select getvariable('x')"],
)  # fmt: skip
def test_what_only_reads_works(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert query.run(connection, sql).rows


@pytest.mark.parametrize("sql", ["", ";", "-- nothing", "set variable x = 1"])
def test_what_gives_nothing_gives_nothing(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert query.run(connection, sql).rows == []


def test_a_select_reads_files_of_ones_own(connection: duckdb.DuckDBPyConnection, isolated: Path) -> None:
    (isolated / "budget.csv").write_text("model,credits\nm,7\n")
    assert query.run(connection, "from 'budget.csv'").rows == [("m", 7)]


@pytest.mark.parametrize(
    "sql",
    [
        "copy apiframe.jobs to 'x.csv'",
        "copy (select 1) to 'some.duckdb'",
        "copy (pivot apiframe.jobs on id using count(*)) to 'x.csv'",
        "explain analyze copy apiframe.jobs to 'x.csv'",
        "/* */ explain analyze copy apiframe.jobs to 'x.csv'",
        "prepare p as copy apiframe.jobs to 'x.csv'; execute p",
        "select 1; copy apiframe.jobs to 'x.csv'; select 1",
        "export database 'x'",
        "attach 'x.duckdb' (read_write)",
        "attach 'some.duckdb' as again (read_write)",
        "attach 'x.duckdb' as x (read_write); create table x.main.y as select 1",
        "copy from database some to x",
        "install httpfs",
        "load httpfs",
        "create persistent secret s (type s3)",
        "create table x as select 1",
        "delete from apiframe.jobs",
        "with gone as (delete from apiframe.jobs returning id) from gone",
        "from enable_logging(storage = 'file', storage_path = 'x')",
        "call enable_logging(storage = 'file', storage_path = 'x')",
        "from enable_profiling(save_location = 'x.json')",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set allowed_directories = ['.']",
        "set home_directory = '.'",
        "set secret_directory = 'x'",
        "set temp_directory = 'x'",
        "set log_query_path = 'x'",
        "pragma log_query_path = 'x'",
        "set profiling_output = 'x'",
        "set memory_limit = '1GB'",
        "from query('copy apiframe.jobs to ''x.csv''')",
        ".read x",
        ".output x",
    ],
)
def test_nothing_that_is_asked_writes(connection: duckdb.DuckDBPyConnection, file: Path, sql: str) -> None:
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match=r"^query: .+"):
        query.run(connection, sql)
    assert [path.name for path in file.parent.iterdir() if path.name not in ("home", "tmp")] == [file.name]
    assert file.read_bytes() == before
    assert query.run(connection, "select count(*) from apiframe.jobs").rows == [(1,)]


def test_a_connection_that_has_read_a_file_can_still_not_write_one(
    connection: duckdb.DuckDBPyConnection, isolated: Path
) -> None:
    (isolated / "budget.csv").write_text("a\n1\n")
    query.run(connection, "from 'budget.csv'")
    with pytest.raises(ConfigurationError, match="it only reads"):
        query.run(connection, "copy apiframe.jobs to 'budget.csv'")
    assert (isolated / "budget.csv").read_text() == "a\n1\n"


def test_a_name_needs_no_schema_and_a_view_comes_before_a_table(isolated: Path) -> None:
    with duckdb.connect(str(isolated / "both.duckdb")) as connection:
        connection.execute(
            "create schema apiframe; create schema reports; create table apiframe.models as select 1 as m"
        )
        connection.execute("create table apiframe.jobs as select 1 as a; create view reports.jobs as select 2 as b")
    with connect_readonly(isolated / "both.duckdb") as connection:
        assert query.run(connection, "from jobs") == rendering.Result(["b"], [(2,)])
        assert query.run(connection, "from models").columns == ["m"]
        assert query.run(connection, "from apiframe.jobs").columns == ["a"]
        with pytest.raises(ConfigurationError, match=r'no.* exist! Did you mean "models"\?$'):
            query.run(connection, "from model_")
        with pytest.raises(ConfigurationError, match=r'not found in FROM clause! Candidate bindings: "m"$'):
            query.run(connection, "select mm from models")
