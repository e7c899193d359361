"""The base tables that views stand on, and rows for them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

TABLES = """
create schema apiframe;
create table apiframe.jobs (
    id varchar, status varchar, model varchar, modality varchar, progress double, credit_cost decimal(18, 4),
    error varchar, webhook_status varchar, created_at timestamptz, completed_at timestamptz, expired boolean,
    asset_count integer, result json, extra json, scope varchar, synced_at timestamptz, delisted_at timestamptz,
    _dlt_load_id varchar
);
create table apiframe.sync_runs (
    started_at timestamptz, finished_at timestamptz, mode varchar, requests bigint, retries bigint,
    jobs_read bigint, jobs_new bigint, jobs_finished bigint, open_jobs bigint, high_water_mark timestamptz,
    scope varchar
);
create table apiframe.models (
    id varchar, label varchar, modality varchar, pricing_mode varchar, cost_min decimal(18, 4),
    cost_max decimal(18, 4), synced_at timestamptz
);
set timezone = 'UTC';
"""


@contextmanager
def base_tables(path: str = ":memory:") -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database that holds the base tables, empty."""
    with duckdb.connect(path) as connection:
        connection.execute(TABLES)
        yield connection


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Add rows; keys that are no columns are left out, a time "@60" is 60 seconds before now."""
    known = {
        name
        for (name,) in connection.execute(
            "select column_name from duckdb_columns() where schema_name = 'apiframe' and table_name = ?", [table]
        ).fetchall()
    }
    connection.execute("begin")
    for row in rows:
        cells = {column: value for column, value in row.items() if column in known}
        marks = []
        for column, value in cells.items():
            ago = re.fullmatch(r"@(\d+)", value) if isinstance(value, str) else None
            cells[column] = int(ago[1]) if ago else value
            marks.append("now() - to_seconds(?)" if ago else "?")
        connection.execute(
            f"insert into apiframe.{table} ({', '.join(cells)}) values ({', '.join(marks)})", list(cells.values())
        )
    connection.execute("commit")
