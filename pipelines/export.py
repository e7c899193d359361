"""A view or a table as a file to take along: Parquet, CSV or JSON, by the ending; every value exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines import files, query, rendering, reports
from pipelines.errors import ConfigurationError
from pipelines.settings import Settings
from pipelines.tables import SCHEMA, tables


def export(connection: Any, chosen: Settings, name: str, target: Path) -> int:
    """Write a view, or a table by its full name, to `target`, as a whole or not at all; returns its number of rows.

    CSV and JSON are those of `query`. Raises ConfigurationError for a name that is none, and an ending that is none.
    """
    place = _place(connection, chosen, name)
    write = _writers().get(target.suffix.lower())
    if write is None:
        raise ConfigurationError(f"--to {target}: the file must end in {', '.join(_writers())}")
    return files.replace(target, lambda file: write(connection, place, file))


def _place(connection: Any, chosen: Settings, name: str) -> str:
    views = [view.name for view in reports.configured(chosen, reports.engine_of(connection)).views]
    if name.removeprefix("reports.") in views:
        return f"reports.{name.removeprefix('reports.')}"
    every = [*views, *(f"{SCHEMA}.{table}" for table in tables())]
    if name not in every:
        raise ConfigurationError(f"there is no view or table {name}; there are {', '.join(every)}")
    return name


def _writers() -> dict[str, Callable[[Any, str, Path], int]]:
    return {".parquet": _parquet, ".csv": _text("csv"), ".json": _text("json")}


def _parquet(connection: Any, place: str, file: Path) -> int:
    import pyarrow.parquet as pq

    rows = connection.sql(f"select * from {place}").to_arrow_table()
    pq.write_table(rows, file, compression="zstd")
    return int(rows.num_rows)


def _text(form: str) -> Callable[[Any, str, Path], int]:
    def write(connection: Any, place: str, file: Path) -> int:
        found = query.run(connection, f"select * from {place}")
        file.write_text(rendering.render(found, form) + "\n", encoding="utf-8")
        return len(found.rows)

    return write
