"""The base tables that views stand on, and rows for them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from pipelines.tables import tables


@contextmanager
def base_tables(path: str = ":memory:") -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database that holds the base tables, empty."""
    with duckdb.connect(path) as connection:
        connection.execute("set timezone = 'UTC'; create schema apiframe")
        for name, table in tables().items():
            columns = ", ".join(f"{column} {kind}" for column, kind in table.types.items())
            connection.execute(f"create table apiframe.{name} ({columns})")
        connection.execute("alter table apiframe.jobs add column _dlt_load_id varchar")
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


def account(connection: duckdb.DuckDBPyConnection, jobs: int = 4000, days: int = 60) -> None:
    """Fill the tables with jobs up to now: five models, 10 % failed, a few open, two stuck; the same each time."""
    connection.execute(
        f"""
        insert into apiframe.jobs by name
        with numbered as (
            select
                i,
                i % 5 as m,
                now() - to_seconds(60 + cast(i * {days} * 86400.0 / {jobs} as bigint)) as created_at,
                case when i < 6 or i in (3001, 3003) then 'PROCESSING' when i % 10 = 7 then 'FAILED'
                    when i % 33 = 1 then 'CANCELLED' else 'COMPLETED' end as status
            from range({jobs}) as numbers(i)
        )
        select
            'job-' || i as id, status, 'model-' || m as model,
            case when m < 3 then 'image' else 'video' end as modality,
            case when i % 500 = 2 then null when status <> 'FAILED' then 4 + m end as credit_cost,
            case when status = 'FAILED' then ['Timeout', 'NSFW', 'odd'][1 + i // 10 % 3] end as error,
            case when i % 50 = 3 then 'failed' when i % 2 = 1 then 'delivered' end as webhook_status,
            created_at,
            case when status in ('COMPLETED', 'FAILED') then created_at + to_seconds(10 + i % 40) end as completed_at,
            case when status = 'COMPLETED' then 1 + m else 0 end as asset_count,
            'user' as scope
        from numbered
        """
    )
    insert(connection, "sync_runs", [{"started_at": "@700", "finished_at": "@600", "mode": "incremental"}])


#: What names and messages may be, at worst.
HOSTILE = [
    "<img src=x onerror=\"document.title='taken'\">",
    "</title></script><script>document.title='taken'</script>",
    "x" * 10_000,
    "x" * 9_999 + "y",
    None,
    "",
    "quo\"te's & 🎨 \x1b[31m\u202e\n\x07 {period} $a^2$ **b** [l](javascript:alert(1))",
]


def hostile(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the tables with names, statuses and messages that mean harm."""
    account(connection, 700, 20)
    for place, name in enumerate(HOSTILE):
        connection.execute(
            "update apiframe.jobs set model = $1, error = $1 where cast(id[5:] as integer) % 7 = $2", [name, place]
        )
        connection.execute(
            "update apiframe.jobs set status = $1, modality = $1 where cast(id[5:] as integer) = $2", [name, 20 + place]
        )
