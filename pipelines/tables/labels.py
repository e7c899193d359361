"""Who jobs were for, as the user says it: `.dlt/labels.csv`, or the file that `reports.labels_from` names.

Checked before anything is read of the API, and stored when a sync ends well. The rules for jobs that are not named here
are no rows: they are part of the view (`reports.label_rules`).
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import ConfigurationError
from pipelines.own_files import Line, read_lines, refuse, require_names
from pipelines.tables import Column, Table

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.tables._sync import Sync

HEADER = ("job_id", "label", "value")
MOST_LINES = 1_000_000  # a sync holds them all


class Label(NamedTuple):
    """A row of `labels`."""

    job_id: str
    label: str
    value: str
    other_values: int


def rows(sync: Sync) -> list[Label] | None:
    """Return what the file says, None where that is stored already."""
    wanted: list[Label] = sync.given[TABLE.name]
    return None if set(wanted) == set(sync.warehouse.read(TABLE)) else wanted


def read_labels(settings: Settings) -> list[Label]:
    """Return one row a job and label, none where there is no file. Raises ConfigurationError with file and line."""
    file = settings.project / ".dlt" / "labels.csv"
    if settings.labels_from is None:
        return decided(file, read_lines(file, HEADER, MOST_LINES)) if os.path.lexists(file) else []
    if file.exists():
        raise ConfigurationError(f"labels are given twice, by {file} and by reports.labels_from: keep one of them")
    other = settings.project / settings.labels_from
    return decided(other, read_lines(other, HEADER, MOST_LINES) if other.suffix == ".csv" else _read_parquet(other))


def decided(file: Path, lines: Iterable[Line]) -> list[Label]:
    """Return what counts of the lines of a file: of each job and label the first value, and how many others it has."""
    first: dict[tuple[str, str], str] = {}
    others: dict[tuple[str, str], set[str]] = {}
    for number, cells in lines:
        require_names(file, number, cells)
        job, label, value = cells[0], *map(sys.intern, cells[1:])
        if first.setdefault((job, label), value) != value:
            others.setdefault((job, label), set()).add(value)
    return [Label(*key, value, len(others.get(key, ()))) for key, value in first.items()]


def _read_parquet(file: Path) -> Iterator[Line]:
    import duckdb

    if not file.is_file():
        raise ConfigurationError(f"reports.labels_from: there is no file {file}")
    try:
        with duckdb.connect() as connection:
            # A path is no pattern, and its folders are no columns.
            table = connection.from_parquet(glob.escape(str(file)), hive_partitioning=False)
            if sorted(table.columns) != sorted(HEADER):
                raise ConfigurationError(
                    f"reports.labels_from: {file} must have the columns {', '.join(HEADER)}, not {table.columns}"
                )
            found = table.project(", ".join(f"trim(cast({name} as varchar))" for name in HEADER))
            cells = found.limit(MOST_LINES + 1).fetchall()
    except duckdb.Error as problem:
        raise ConfigurationError(f"reports.labels_from: cannot read {file}: {str(problem).splitlines()[0]}") from None
    if len(cells) > MOST_LINES:
        raise ConfigurationError(f"reports.labels_from: {file} has more than {MOST_LINES:,} rows")
    for number, row in enumerate(cells, 1):
        if not all(row):
            refuse(file, number, f"a row must hold {', '.join(HEADER)}, not {row}"[:200])
        yield Line(number, list(row))


TABLE = Table(
    "labels",
    "One row per job and label that a file of yours gives a value.",
    (
        Column("job_id", "VARCHAR", "The job's id; it need not be one that the warehouse holds."),
        Column("label", "VARCHAR", "What is told of it, for example project."),
        Column("value", "VARCHAR", "What the file says first."),
        Column("other_values", "INTEGER", "Other values that the file gives too, and that do not count."),
    ),
    mode="replace",
    key=("job_id", "label"),
    rows=rows,
    check=read_labels,
)
