"""The tables of a warehouse: one file each in this folder, found by listing it; nobody else names them.

A file holds `TABLE`: what it tells, column by column, and where its rows come from. How it is made, added to an
older warehouse, read, described and copied follows from that, on every store. Imports nothing heavy.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "apiframe"


@dataclass(frozen=True)
class Column:
    """A column: its type in DuckDB's words and a sentence for those who read it. Times are given as microseconds."""

    name: str
    type: str
    sentence: str
    unit: str | None = None
    nullable: bool = True

    @property
    def comment(self) -> str:
        """What is stored as its description."""
        return f"{self.sentence} ({self.unit})" if self.unit else self.sentence

    @property
    def is_time(self) -> bool:
        """Tell whether it holds times."""
        return self.type == "TIMESTAMPTZ"


@dataclass(frozen=True)
class Table:
    """A table of schema `apiframe`; its sentence says first what a row is.

    `rows` is called once a sync, with a `_sync.Sync`, `before` the jobs are read or after. It returns tuples in the
    order of `columns`, or None to leave the table as it is. They are stored when the sync ends well: added (append),
    put in the place of those with the same `key` (merge), or of all (replace). What fails is a note, no error. One that
    asks for long stores what it has in between, and returns None.
    `check` is called before a sync reads anything, and raises ConfigurationError where a file of the user's is wrong;
    what it returns, `rows` finds in the sync's `given`.
    """

    name: str
    sentence: str
    columns: tuple[Column, ...]
    mode: Literal["append", "merge", "replace"] = "append"
    key: tuple[str, ...] = ()
    rows: Callable[[Any], Iterable[Sequence[Any]] | None] | None = None
    before: bool = False
    check: Callable[[Any], Any] | None = None

    def select(self, present: Iterable[str] | None = None) -> str:
        """Return the list of columns to select, times in microseconds; null for those that are not `present` yet."""
        known = self.types if present is None else set(present)
        return ", ".join(
            f"null as {column.name}"
            if column.name not in known
            else f"epoch_us({column.name})"
            if column.is_time
            else column.name
            for column in self.columns
        )

    @functools.cached_property
    def types(self) -> dict[str, str]:
        """Column -> type (DuckDB), in order."""
        return {column.name: column.type for column in self.columns}

    @functools.cached_property
    def arrow_schema(self) -> pa.Schema:
        """The same in Arrow's words."""
        import pyarrow as pa

        types = {
            "VARCHAR": pa.string(),
            "JSON": pa.string(),
            "DOUBLE": pa.float64(),
            "DECIMAL(18,4)": pa.decimal128(18, 4),
            "DECIMAL(18,10)": pa.decimal128(18, 10),
            "DATE": pa.date32(),
            "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
            "BOOLEAN": pa.bool_(),
            "INTEGER": pa.int32(),
            "BIGINT": pa.int64(),
        }
        # A row without its key is none; whether another may be null is not for Arrow to judge.
        required = self.key if self.mode == "merge" else ()
        return pa.schema([pa.field(name, types[kind], name not in required) for name, kind in self.types.items()])

    def to_arrow(self, rows: Sequence[Sequence[Any]]) -> pa.Table:
        """Turn rows into an Arrow table with every column, also where there are no rows."""
        import pyarrow as pa

        columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        return pa.table(
            [
                pa.array(values, pa.int64()).cast(field.type)
                if pa.types.is_timestamp(field.type)
                else pa.array(values, field.type)
                for field, values in zip(self.arrow_schema, columns, strict=True)
            ],
            schema=self.arrow_schema,
        )


@functools.cache
def tables() -> dict[str, Table]:
    """Return every table by name."""
    modules = (
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if found.name[0] != "_"
    )
    return {module.TABLE.name: module.TABLE for module in modules}
