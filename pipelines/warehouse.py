"""The questions to the data, over any connection: all SQL on jobs is here, in DuckDB's words.

Asks, never writes; where the data lies, and how it gets there, is the matter of `stores`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Self

from pipelines.apiframe.account import Account
from pipelines.apiframe.evidence import is_searchable
from pipelines.apiframe.frontier import Unsettled
from pipelines.apiframe.records import Row
from pipelines.apiframe.settled import IS_OPEN, can_change_sql, each_can_change_sql
from pipelines.tables import SCHEMA, Column, Table
from pipelines.tables.jobs import TABLE as JOBS
from pipelines.tables.sync_runs import TABLE as SYNC_RUNS
from pipelines.tables.sync_runs import Run

HOUR = 3_600 * 1_000_000
#: A delisted job is looked at again at these ages: lists that were wrong for a while are right again.
LOOK_AGAIN = (HOUR, 24 * HOUR, 7 * 24 * HOUR)
MOST_AGAIN = 10  # jobs a sync: where one of them has come back, so may all that went with it

#: What a job cost, as the view `reports.jobs` has it: what the API says once it has ended, whatever its outcome.
SPENT = f"case when {IS_OPEN} then null else credit_cost end"
#: The columns of a `Row`.
ROW = JOBS.select()
#: The jobs that a full sync has seen; it belongs to no table, and goes when that sync has ended.
SEEN = Table("_full_sync_seen", "", (Column("id", "VARCHAR", ""),))


class Totals(NamedTuple):
    """Jobs and open jobs in the warehouse."""

    jobs: int
    open_jobs: int


class Warehouse:
    """What a warehouse knows. `query` runs one statement and returns its rows."""

    def __init__(self, query: Callable[..., list[tuple[Any, ...]]]) -> None:
        self.query = query

    @classmethod
    def over(cls, connection: Any) -> Self:
        """Return the questions over a connection that is open already; it is not closed here."""
        return cls(lambda sql, parameters=(): connection.execute(sql, parameters or None).fetchall())

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table of ours, none where it is not there."""
        found = self.query(
            "select column_name from information_schema.columns where table_catalog = current_database() "
            "and table_schema = ? and table_name = ?",
            [SCHEMA, table],
        )
        return [name for (name,) in found]

    def has(self, table: str) -> bool:
        """Tell whether a table of ours is there."""
        return bool(self.columns(table))

    def read(self, table: Table, rest: str = "", parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return rows of a table, none where it is not there yet; `rest` is where, order and limit."""
        present = self.columns(table.name)
        if not present:
            return []
        return self.query(f"select {table.select(present)} from {SCHEMA}.{table.name} {rest}", parameters)

    def count(self, table: Table, condition: str, parameters: Sequence[object]) -> int:
        """Return how many rows of a table meet a condition, none where it is not there yet."""
        if not self.has(table.name):
            return 0
        return int(self.query(f"select count(*) from {SCHEMA}.{table.name} where {condition}", parameters)[0][0])

    def last_run(self, scope: str | None = None) -> Run | None:
        """Return the last sync that ended well (of a scope)."""
        rows = self.read(SYNC_RUNS, "where scope = coalesce(?, scope) order by number desc limit 1", [scope])
        return Run(*rows[0]) if rows else None

    def last_runs(self) -> list[Run]:
        """Return the last sync of each scope that ended well."""
        return [run for run in map(self.last_run, ("user", "team")) if run]

    def scopes(self) -> dict[str, int | None]:
        """Return the scopes of which jobs are held or were asked for, and when a sync last read all of each.

        That of the team reads the user's own jobs too. Microseconds since 1970; None where no sync has ended well.
        """
        found = {scope for (scope,) in self.query(f"select distinct scope from {SCHEMA}.jobs where scope is not null")}
        runs = {run.scope: run.finished_at for run in self.last_runs()}
        return {
            scope: max((at for of, at in runs.items() if of in (scope, "team")), default=None)
            for scope in sorted(found | runs.keys(), reverse=True)
        }

    def loads(self) -> dict[str, int]:
        """Return how many jobs were written last by which load: it differs where a sync has begun to store some."""
        return dict(self.query(f"select _dlt_load_id, count(*) from {SCHEMA}.jobs group by _dlt_load_id"))

    def account(self, scope: str) -> Account:
        """Return whose jobs these are: by the last sync of this scope, or of the other."""
        account = Account()
        for each in (scope, "team" if scope == "user" else "user"):
            if run := self.last_run(each):
                account = account.completed(Account(run.user_id, run.team_id))
        return account

    def jobs(self, size: int) -> Iterator[list[Row]]:
        """Yield every job, newest first, so many at a time; at least one list, though it be empty."""
        place, known = "", list[object]()
        while True:
            rows = self.query(
                f"select {ROW} from {SCHEMA}.jobs {place} order by created_at desc, id desc limit {size}", known
            )
            found = [Row(*row) for row in rows]
            yield found
            if len(found) < size:
                return
            place, known = "where (created_at, id) < (make_timestamp(?), ?)", [found[-1].created_at, found[-1].id]

    def counted_jobs(self) -> int:
        """Return how many jobs the syncs that ended well have counted as new; one that failed may have stored more."""
        if not self.has("sync_runs"):
            return 0
        return int(self.query(f"select coalesce(sum(jobs_new), 0) from {SCHEMA}.sync_runs")[0][0])

    def unsettled(self, scope: str, started_at: int, settle_after: int) -> list[Unsettled]:
        """Return the jobs that the sync that began at `started_at` left unsettled, and how deep they lie."""
        jobs = f"select id, epoch_us(created_at), status from {SCHEMA}.jobs where {in_scope(scope)}"
        each = each_can_change_sql(started_at, settle_after)
        found = self.query(" union ".join(f"{jobs} and {condition}" for condition in each))
        if not found:
            return []
        times = [created_at for _, created_at, _ in found]
        # Of times alone: to sort ids along takes ten times as long where an old job is stuck below millions.
        newer = self.query(
            "select distinct epoch_us(created_at), newer from ("
            f"select created_at, rank() over (order by created_at desc) - 1 as newer from {SCHEMA}.jobs "
            f"where delisted_at is null and {in_scope(scope)} and created_at >= make_timestamp(?)"
            ") as ranked where epoch_us(created_at) in (select unnest(?::bigint[]))",
            [min(times), times],
        )
        ranks = dict(newer)
        return [
            Unsettled(identity, created_at, status, ranks[created_at], is_searchable(identity))
            for identity, created_at, status in found
        ]

    def without_input(self, scope: str, seen_at: int, settle_after: int, most: int | None = None) -> list[str]:
        """Return the jobs that the sync that began at `seen_at` left settled, and whose input was never asked for.

        Newest first; none that the API lists no longer.
        """
        asked = ""
        if self.has("job_inputs"):
            asked = f"and not exists (select 1 from {SCHEMA}.job_inputs as asked where asked.id = jobs.id)"
        rows = self.query(
            f"select id from {SCHEMA}.jobs where delisted_at is null and {in_scope(scope)} "
            f"and {can_change_sql(seen_at, settle_after)} is not true {asked} "
            f"order by created_at desc, id {'' if most is None else f'limit {most}'}"
        )
        return [row[0] for row in rows]

    def newer_than(self, scope: str, created_at: int) -> int:
        """Return how many jobs are newer."""
        sql = f"select count(*) from {SCHEMA}.jobs where delisted_at is null and {in_scope(scope)}"
        return int(self.query(f"{sql} and created_at > make_timestamp(?)", [created_at])[0][0])

    def older_than(self, scope: str, created_at: int | None) -> list[tuple[int, str]]:
        """Return createdAt and id of the jobs held as listed that are older (None: all), newest first."""
        if not self.has("jobs"):
            return []
        sql = f"select epoch_us(created_at), id from {SCHEMA}.jobs where delisted_at is null and {in_scope(scope)}"
        older = "" if created_at is None else " and created_at < make_timestamp(?)"
        rows = self.query(f"{sql}{older} order by created_at desc, id", [] if created_at is None else [created_at])
        return [(at, identity) for at, identity in rows]

    def lately_delisted(self, scope: str, since: int, until: int) -> list[str]:
        """Return some of the jobs that were delisted an hour, a day or a week before a moment of this span.

        Of each time of delisting first the newest job, then the second.
        """
        spans = [moment - mark for mark in LOOK_AGAIN for moment in (since, until)]
        of_age = " or ".join(["delisted_at > make_timestamp(?) and delisted_at <= make_timestamp(?)"] * len(LOOK_AGAIN))
        rows = self.query(
            f"select id, row_number() over (partition by delisted_at order by created_at desc, id) as place "
            f"from {SCHEMA}.jobs where {in_scope(scope)} and ({of_age}) order by place, id limit {MOST_AGAIN}",
            spans,
        )
        return [row[0] for row in rows]

    def delisted_with(self, scope: str, ids: Collection[str]) -> list[Unsettled]:
        """Return the jobs that were delisted when one of these was, and how deep they lie."""
        rows = self.query(
            f"select id, epoch_us(created_at), status, place from (select id, created_at, status, delisted_at, "
            f"row_number() over (order by created_at desc) - 1 as place from {SCHEMA}.jobs where {in_scope(scope)}"
            f") as placed where delisted_at in "
            f"(select delisted_at from {SCHEMA}.jobs where id in (select unnest(?::varchar[])))",
            [list(ids)],
        )
        return [
            Unsettled(identity, created_at, status, rank, is_searchable(identity))
            for identity, created_at, status, rank in rows
        ]

    def open_jobs(self) -> dict[str, int]:
        """Return the number of open jobs by status."""
        return dict(self.query(f"select status, count(*) from {SCHEMA}.jobs where {IS_OPEN} group by status"))

    def kept(self, rows: Sequence[Row]) -> dict[str, Row]:
        """Return what the warehouse holds of these jobs, by id."""
        if not rows:
            return {}
        times = [row.created_at for row in rows]
        found = self.query(
            f"select {ROW} from {SCHEMA}.jobs where id in (select unnest(?::varchar[])) "
            "and created_at between make_timestamp(?) and make_timestamp(?)",
            [[row.id for row in rows], min(times), max(times)],
        )
        return {row[0]: Row(*row) for row in found}

    def knows(self, scope: str, positions: Sequence[tuple[int, str]]) -> bool:
        """Tell whether the jobs at these positions (createdAt, id) were all seen in this scope and not delisted."""
        if not positions:
            return True
        ids = {identity for _, identity in positions}
        times = [time for time, _ in positions]
        found = self.query(
            f"select count(*) from {SCHEMA}.jobs where delisted_at is null and id in (select unnest(?::varchar[])) "
            f"and {in_scope(scope)} and created_at between make_timestamp(?) and make_timestamp(?)",
            [list(ids), min(times), max(times)],
        )
        return bool(found[0][0] == len(ids))

    def rows(self, ids: Sequence[str]) -> list[Row]:
        """Return jobs by id."""
        found = self.query(f"select {ROW} from {SCHEMA}.jobs where id in (select unnest(?::varchar[]))", [list(ids)])
        return [Row(*row) for row in found]

    def totals(self) -> Totals:
        """Return what the warehouse holds now."""
        if not self.has("jobs"):
            return Totals(0, 0)
        # Of a column that is never null: where files are read through Arrow, `count(*)` reads the ids.
        counts = (f"select count(created_at) from {SCHEMA}.jobs{which}" for which in ("", f" where {IS_OPEN}"))
        return Totals(*(self.query(count)[0][0] for count in counts))

    def spent(self) -> Decimal:
        """Return the credits spent on all jobs."""
        if not self.has("jobs"):
            return Decimal(0)
        return Decimal(self.query(f"select coalesce(sum({SPENT}), 0) from {SCHEMA}.jobs")[0][0])

    def models(self) -> dict[str, tuple[str | None, int]]:
        """Return model -> (modality, when the catalogue was asked); a null modality is a model it does not list."""
        if not self.has("models"):
            return {}
        rows = self.query(f"select id, modality, epoch_us(synced_at) from {SCHEMA}.models")
        return {identity: (modality, asked) for identity, modality, asked in rows}

    def not_seen(self, scope: str, since: int | None) -> list[str]:
        """Return the jobs that a full sync has not seen, though it read everything (back to `since`)."""
        return [
            row[0]
            for row in self.query(
                f"select id from {SCHEMA}.jobs "
                f"where not exists (select 1 from {SCHEMA}._full_sync_seen as seen where seen.id = jobs.id) "
                f"and delisted_at is null and {in_scope(scope)} "
                "and created_at >= make_timestamp(coalesce(?, -62135596800000000)) order by created_at desc, id",
                [since],
            )
        ]


def in_scope(scope: str) -> str:
    """Return the condition that a job, as a row of `jobs`, is of a scope."""
    # The team's list holds the user's own jobs too; a row keeps the narrowest scope that listed it.
    return "scope = 'user'" if scope == "user" else "true"
