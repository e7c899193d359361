"""What stores have in common that speak SQL and keep transactions."""

from __future__ import annotations

import abc
import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.apiframe.source import jobs_source
from pipelines.reports import literal
from pipelines.stores import PIPELINE, Store, jobs_state
from pipelines.tables import SCHEMA, Column, Table
from pipelines.warehouse import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.extract import DltSource


class SqlStore(Store):
    """A store whose tables are made and filled by SQL; `query` runs one statement and returns its rows."""

    #: Types that are not called as in DuckDB.
    types: ClassVar[Mapping[str, str]] = {}

    @abc.abstractmethod
    def query(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement of this project and return its rows."""

    @abc.abstractmethod
    def _descriptions(self) -> list[tuple[str, str, str | None]]:
        """Return (table, column, description); column '' is the table, None what this user may not describe."""

    def _source(self, tables: Callable[[], Iterable[pa.Table]]) -> DltSource:
        return jobs_source(tables, deduplicated=True, fresh=not Warehouse(self.query).has("jobs"))

    def state(self) -> dict[str, Any]:
        """Return dlt's state of the resource `jobs`. Only one whose load package was finished counts."""
        warehouse = Warehouse(self.query)
        if not (warehouse.has("_dlt_pipeline_state") and warehouse.has("_dlt_loads")):
            return {}
        rows = self.query(
            f"select state from {SCHEMA}._dlt_pipeline_state where pipeline_name = ? and _dlt_load_id in "
            f"(select load_id from {SCHEMA}._dlt_loads where status = 0) order by version desc limit 1",
            [PIPELINE],
        )
        return jobs_state(rows[0][0]) if rows else {}

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Let what is written within be there as a whole or not at all."""
        self.query("begin")
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # what broke is told
                self.query("rollback")
            raise
        self.query("commit")

    def prepare(self, *tables: Table) -> None:
        """Make the tables that are not there, add the columns that they have got since, and describe them."""
        found: dict[str, dict[str, str | None]] = {}
        for table, place, description in self._descriptions():
            found.setdefault(table, {})[place] = description
        for wanted in tables:
            name = f"{SCHEMA}.{wanted.name}"
            present = found.get(wanted.name)
            if present is None:
                self.query(f"create table {name} ({', '.join(map(self._define, wanted.columns))})")
                present = {"": "", **dict.fromkeys(wanted.types, "")}
            for column in wanted.columns:
                if column.name not in present:
                    self.query(f"alter table {name} add column {self._define(column)}")
            comments = {f"table {name}": (present[""], wanted.sentence)} | {
                f"column {name}.{column.name}": (present.get(column.name, present[""]), column.comment)
                for column in wanted.columns
            }
            for thing, (before, now) in comments.items():
                if before not in (None, now):
                    self.query(f"comment on {thing} is {literal(now)}")

    def _define(self, column: Column) -> str:
        return f"{column.name} {self.types.get(column.type, column.type)}"

    def write(self, table: Table, rows: Iterable[Sequence[Any]]) -> None:
        """Store rows of a table that was prepared, as its mode says."""
        name, given = f"{SCHEMA}.{table.name}", list(rows)
        if table.mode == "replace":
            self.query(f"delete from {name}")
        elif table.mode == "merge":
            key = operator.itemgetter(*map(list(table.types).index, table.key))
            given = list({key(row): row for row in given}.values())
        if not given:
            return
        source = f"{self._given(table)} as given"
        # Column by column, as texts that the database casts: exact for every type, and one statement for all rows.
        texts = [
            [value if value is None else self._text(value) for value in column] for column in zip(*given, strict=True)
        ]
        if table.mode == "merge":
            same = " and ".join(f"given.{column} = kept.{column}" for column in table.key)
            self.query(f"delete from {name} as kept where exists (select 1 from {source} where {same})", texts)
        self.query(f"insert into {name} ({', '.join(table.types)}) select * from {source}", texts)

    def _given(self, table: Table) -> str:
        """Return the SQL of rows that are given as an array of texts a column."""
        texts, columns = [], []
        for column in table.columns:
            kind = "BIGINT" if column.is_time else self.types.get(column.type, column.type)
            texts.append(f"cast(unnest(?::varchar[]) as {kind}) as {column.name}")
            columns.append(f"make_timestamp({column.name}) as {column.name}" if column.is_time else column.name)
        return f"(select {', '.join(columns)} from (select {', '.join(texts)}) as texts)"

    def _text(self, value: object) -> str:
        return str(value)

    def _delete_before(self, table: Table, column: str, before: int) -> None:
        self.query(f"delete from {SCHEMA}.{table.name} where {column} < make_timestamp(?)", [before])

    def empty(self, table: Table) -> None:
        """Delete all rows of a table, and the table with them."""
        self.query(f"drop table if exists {SCHEMA}.{table.name}")
