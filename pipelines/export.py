"""A view or a table as a file to take along: Parquet, CSV or JSON, by the ending; every value exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines import files, query, rendering
from pipelines.errors import ConfigurationError
from pipelines.tables import SCHEMA


def export(connection: Any, name: str, target: Path, *, csv_safe: bool = False) -> int:
    """Write a view, or a table by its full name, to `target`, as a whole or not at all; returns its number of rows.

    CSV and JSON are those of `query`. Raises ConfigurationError for a name that is none, and an ending that is none.
    """
    place = _place(connection, name)
    write = _writers(csv_safe).get(target.suffix.lower())
    if write is None:
        raise ConfigurationError(f"--to {target}: the file must end in {', '.join(_writers(csv_safe))}")
    return files.replace(target, lambda file: write(connection, place, file))


def _place(connection: Any, name: str) -> str:
    found = connection.execute(
        "select table_schema, table_name from information_schema.tables "
        f"where table_schema in ('reports', '{SCHEMA}') and table_name not like '\\_%' escape '\\' order by 1, 2"
    ).fetchall()
    places = {f"{schema}.{table}": table for schema, table in found}
    place = f"reports.{name}" if f"reports.{name}" in places else name
    if place not in places:
        every = (table if schema == "reports" else f"{schema}.{table}" for schema, table in found)
        raise ConfigurationError(f"there is no view or table {name}; there are {', '.join(every)}")
    return place


def _writers(csv_safe: bool) -> dict[str, Callable[[Any, str, Path], int]]:
    return {".parquet": _parquet, ".csv": _text("csv", csv_safe), ".json": _text("json")}


def _parquet(connection: Any, place: str, file: Path) -> int:
    import pyarrow.parquet as pq

    rows = query.asked(connection, lambda: connection.sql(f"select * from {place}").to_arrow_table())
    pq.write_table(rows, file, compression="zstd")
    return int(rows.num_rows)


def _text(form: str, csv_safe: bool = False) -> Callable[[Any, str, Path], int]:
    def write(connection: Any, place: str, file: Path) -> int:
        found = query.run(connection, f"select * from {place}")
        file.write_text(rendering.render(found, form, csv_safe=csv_safe) + "\n", encoding="utf-8")
        return len(found.rows)

    return write
