"""The dlt source of Apiframe jobs, for anyone's own pipeline, and the resource by which every store here merges.

What is remembered from one run to the next is kept in dlt's state. dlt is imported when a source is made.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipelines.apiframe.account import Account, verify
from pipelines.apiframe.catalogue import Catalogue
from pipelines.apiframe.client import Client, client_of
from pipelines.apiframe.evidence import is_searchable
from pipelines.apiframe.frontier import Known, Unsettled
from pipelines.apiframe.memory import Memory
from pipelines.apiframe.paging import Paging
from pipelines.apiframe.reading import Reading
from pipelines.apiframe.records import Row
from pipelines.apiframe.settled import can_change
from pipelines.errors import ConfigurationError
from pipelines.exact import microseconds
from pipelines.tables.jobs import TABLE as JOBS

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.extract import DltResource, DltSource

#: Types that dlt has to be told.
HINTS: dict[str, dict[str, Any]] = {
    "DOUBLE": {"data_type": "double"},
    "BOOLEAN": {"data_type": "bool"},
    "INTEGER": {"data_type": "bigint", "precision": 32},
    "JSON": {"data_type": "json"},
}
#: Jobs. How densely they lie is not known to dlt's state, so that old ones are listed or searched, never paged to.
FAR = 10**12


def apiframe_source(
    api_key: str | None = None,
    base_url: str | None = None,
    scope: str | None = None,
    settle_after: str | None = None,
    workers: int | None = None,
) -> DltSource:
    """Return the source with its one resource, `jobs`, merged by id into any destination of dlt.

    What is not given comes from dlt's configuration (`sources.apiframe.*`). The first run reads every job, later
    ones the new jobs and those that can still change; what that needs is kept in dlt's state. Values that do not
    fit their column are kept in `extra`. Raises the errors of `pipelines.apiframe.client`, and ConfigurationError where
    the destination cannot merge.
    """
    from pipelines import settings

    chosen = settings.load(api_key=api_key, base_url=base_url, scope=scope, settle_after=settle_after, workers=workers)
    chosen.require_key()
    return source_of(lambda: client_of(chosen), chosen)


def source_of(
    connect: Callable[[], Client], chosen: Any, on_page: Callable[[Paging], None] = lambda _: None
) -> DltSource:
    """Return `apiframe_source` over a client of the caller and settings, with a word for every page."""

    def tables() -> Iterator[pa.Table]:
        import dlt

        _fit(dlt.current.resource())
        with contextlib.closing(connect()) as client:
            yield from _tables(client, chosen, dlt.current.resource_state("jobs").setdefault("scopes", {}), on_page)

    return jobs_source(tables)


def _fit(resource: Any) -> None:
    """Make the resource fit the destination that it is extracted for, or refuse that."""
    from dlt.common.configuration.container import Container
    from dlt.common.destination import DestinationCapabilitiesContext

    container = Container()
    if DestinationCapabilitiesContext not in container:
        return  # extracted without a destination
    able = container[DestinationCapabilitiesContext]
    _require_merge(able, resource.compute_table_schema())
    if able.dialect_capabilities is not None:
        # By way of SQLAlchemy dlt writes what is JSON already as JSON once more: "{\"images\": ...}" as one string.
        resource.apply_hints(columns={each.name: {"data_type": "text"} for each in JOBS.columns if each.type == "JSON"})


def _require_merge(able: Any, table: Any) -> None:
    """Refuse what would hold a job once for each time that it was read, or changed.

    Where the destination, or the table's format, cannot merge, dlt adds without a word. Of its strategies only
    delete-insert takes an id that comes twice in one load, as it does where pages overlap.
    """
    if table["write_disposition"] != "merge":
        return  # another one was asked for
    strategies = able.supported_merge_strategies or []
    if able.merge_strategies_selector is not None:
        strategies = able.merge_strategies_selector(strategies, table_schema=table)
    if "delete-insert" not in strategies or table.get("x-merge-strategy", "delete-insert") != "delete-insert":
        raise ConfigurationError(
            "jobs are merged by dlt's strategy delete-insert, which this destination cannot do, or which was changed: "
            "a job would be there twice, and its credits be counted twice. Load into a database; for Delta tables use "
            'the command apiframe-warehouse with warehouse.destination = "delta"'
        )


class _State(Memory):
    """What dlt's state holds of one list: when it was read last, and which of its jobs can still change."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.known = Known(state["started_at"], state["high_water_mark"]) if state else None
        self.kept: dict[str, tuple[int, str | None]] = state.get("unsettled", {})

    def unsettled(self, now: int) -> Iterable[Unsettled]:
        return [
            Unsettled(identity, created_at, status, FAR, is_searchable(identity))
            for identity, (created_at, status) in self.kept.items()
        ]

    def older_than(self, created_at: int | None) -> list[tuple[int, str]]:
        return [
            (at, identity)
            for identity, (at, _) in self.kept.items()
            if (created_at is None or at < created_at) and is_searchable(identity)
        ]

    def keep(self, rows: Iterable[Row], now: int, settle_after: int) -> None:
        for row in rows:
            if can_change(row, now, settle_after):
                self.kept[row.id] = (row.created_at, row.status)
            else:
                self.kept.pop(row.id, None)


def _tables(
    client: Client, chosen: Any, scopes: dict[str, dict[str, Any]], on_page: Callable[[Paging], None]
) -> Iterator[pa.Table]:
    state = scopes.setdefault(chosen.scope, {})
    recorded = Account()
    for each in (state, *scopes.values()):
        recorded = recorded.completed(Account(*each.get("account", ())))
    account, seal = verify(client, chosen.require_key(), recorded, state.get("seal"), "what this pipeline has loaded")
    catalogue, memory = Catalogue(client), _State(state)
    catalogue.ask()
    _warn(catalogue.note)
    settle_after = microseconds(chosen.settle_after)
    reading = Reading(
        client,
        memory,
        settle_after=settle_after,
        workers=chosen.workers,
        modalities=catalogue.modalities,
        on_page=on_page,
    )
    for batch in reading.batches():
        memory.keep(batch.rows, reading.started_at, settle_after)
        yield JOBS.to_arrow(batch.rows)
    _warn(reading.clock_note)
    for identity in reading.gone():
        memory.kept.pop(identity, None)
    state |= {
        "started_at": reading.started_at,
        "high_water_mark": reading.paging.high_water_mark,
        "unsettled": memory.kept,
        "account": [account.user_id, account.team_id],
        "seal": seal,
    }


def _warn(note: str | None) -> None:
    if note:
        logging.getLogger(__name__).warning("%s", note)


def jobs_source(
    tables: Callable[[], Iterable[pa.Table]],
    *,
    strategy: str = "delete-insert",
    table_format: Any = None,
    deduplicated: bool = False,
    fresh: bool = False,
) -> DltSource:
    """Return the dlt source that merges Arrow tables of jobs by id; of two copies the one read last wins.

    `deduplicated` promises that no id comes twice, which spares dlt the search (a seventh of a first load); a
    `strategy` other than delete-insert needs that too. `fresh` promises that there are no jobs yet either, so that
    there is nothing to merge with: rows go straight into the table.
    The incremental on `created_at` of its resource `jobs` holds the high-water mark (`dlt pipeline ... info`).
    """
    import dlt

    disposition: Any = {"disposition": "merge", "strategy": strategy, "deduplicated": deduplicated}

    @dlt.resource(
        name="jobs",
        write_disposition="append" if fresh else disposition,
        primary_key=JOBS.key,
        table_format=table_format,
        columns=_hints(deduplicated),
        schema_contract={"tables": "evolve", "columns": "freeze", "data_type": "freeze"},
    )
    def jobs(
        created_at: Any = dlt.sources.incremental("created_at", primary_key=()),  # noqa: B008 - how dlt declares it
    ) -> Iterator[pa.Table]:
        # dlt would drop rows below the start; what is read again is decided by the frontier, and nothing is too old.
        created_at.start_value = None
        yield from tables()

    @dlt.source(name="apiframe")
    def apiframe() -> DltResource:
        return jobs

    return apiframe()


def _hints(deduplicated: bool) -> Any:
    hints: Any = {column.name: {"nullable": column.nullable, **HINTS.get(column.type, {})} for column in JOBS.columns}
    if not deduplicated:
        hints["synced_at"]["dedup_sort"] = "desc"
    return hints
