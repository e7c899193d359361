"""The dlt source of Apiframe jobs, for this project's sync and for anyone's own pipeline.

Jobs change after they are created and the API has no "changed since": every run therefore reads the jobs that are
new and those that can still change, and merges them by id. Importing the package is cheap; dlt comes with the use
of `apiframe_source` or `jobs_source`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pipelines.apiframe import records
from pipelines.apiframe.account import Account, verify
from pipelines.apiframe.client import ApiError, Client, UndocumentedError
from pipelines.apiframe.evidence import is_searchable
from pipelines.apiframe.frontier import Known, Unsettled
from pipelines.apiframe.reading import Reading
from pipelines.apiframe.settled import can_change
from pipelines.tables.jobs import TABLE as JOBS

if TYPE_CHECKING:
    import pyarrow as pa
    from dlt.extract import DltResource, DltSource

__all__ = ["ApiError", "Client", "UndocumentedError", "apiframe_source", "jobs_source"]

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
    fit their column are kept in `extra`. Raises the errors of `pipelines.apiframe.client`.
    """
    from pipelines import settings

    chosen = settings.load(api_key=api_key, base_url=base_url, scope=scope, settle_after=settle_after, workers=workers)
    chosen.require_key()
    return source_of(lambda: connect(chosen), chosen)


def source_of(
    client_of: Callable[[], Client], chosen: Any, on_page: Callable[[Reading], None] = lambda _: None
) -> DltSource:
    """Return `apiframe_source` over a client of the caller and settings, with a word for every page."""
    import dlt

    def tables() -> Iterator[pa.Table]:
        with contextlib.closing(client_of()) as client:
            yield from read(client)

    def read(client: Client) -> Iterator[pa.Table]:
        scopes = dlt.current.resource_state("jobs").setdefault("scopes", {})
        state = scopes.setdefault(chosen.scope, {})
        account, seal = _whose(client, chosen.require_key(), scopes)
        known = Known(state["started_at"], state["high_water_mark"]) if state else None
        unsettled = state.get("unsettled", {})
        try:
            catalogue = modalities(client.models())
        except ApiError as problem:
            catalogue = {}
            logging.getLogger(__name__).warning("the catalogue of models cannot be read: %s", problem)
        reading = Reading(
            client,
            known=known,
            unsettled=lambda _: [
                Unsettled(identity, created_at, status, FAR, is_searchable(identity))
                for identity, (created_at, status) in unsettled.items()
            ],
            older_than=lambda created_at: [
                identity
                for identity, (at, _) in unsettled.items()
                if (created_at is None or at < created_at) and is_searchable(identity)
            ],
            settle_after=microseconds(chosen.settle_after),
            workers=chosen.workers,
            modalities=catalogue,
            on_page=on_page,
        )
        for batch in reading.batches():
            for row in batch.rows:
                if can_change(row, reading.started_at, microseconds(chosen.settle_after)):
                    unsettled[row.id] = (row.created_at, row.status)
                else:
                    unsettled.pop(row.id, None)
            yield JOBS.to_arrow(batch.rows)
        if reading.clock_note:
            logging.getLogger(__name__).warning("%s", reading.clock_note)
        for identity in reading.gone():
            unsettled.pop(identity, None)
        state |= {
            "started_at": reading.started_at,
            "high_water_mark": reading.high_water_mark,
            "unsettled": unsettled,
            "account": [account.user_id, account.team_id],
            "seal": seal,
        }

    return jobs_source(tables)


def _whose(client: Client, key: str, scopes: Mapping[str, Mapping[str, Any]]) -> tuple[Account, str | None]:
    """Return the account of the key and its seal; `scopes` is what dlt's state holds."""
    own = scopes[client.scope]
    recorded = Account()
    for each in (own, *scopes.values()):
        recorded = recorded.completed(Account(*each.get("account", ())))
    return verify(client, key, recorded, own.get("seal"), "what this pipeline has loaded")


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

    columns: Any = {column.name: {"nullable": column.nullable, **HINTS.get(column.type, {})} for column in JOBS.columns}
    if not deduplicated:
        columns["synced_at"]["dedup_sort"] = "desc"

    disposition: Any = {"disposition": "merge", "strategy": strategy, "deduplicated": deduplicated}

    @dlt.resource(
        name="jobs",
        write_disposition="append" if fresh else disposition,
        primary_key=JOBS.key,
        table_format=table_format,
        columns=columns,
        schema_contract={"tables": "evolve", "columns": "freeze", "data_type": "freeze"},
    )
    def jobs(
        created_at: Any = dlt.sources.incremental(  # noqa: B008 - how dlt declares an incremental
            "created_at", primary_key=()
        ),
    ) -> Iterator[pa.Table]:
        # dlt would drop rows below the start; what is read again is decided by the frontier, and nothing is too old.
        created_at.start_value = None
        yield from tables()

    @dlt.source(name="apiframe")
    def apiframe() -> DltResource:
        return jobs

    return apiframe()


def connect(chosen: Any) -> Client:
    """Return a client made as the settings say."""
    return Client(
        chosen.base_url,
        chosen.require_key(),
        scope=chosen.scope,
        timeout=chosen.request_timeout,
        max_attempts=chosen.request_max_attempts,
        backoff_factor=chosen.request_backoff_factor,
        max_retry_delay=chosen.request_max_retry_delay,
    )


def modalities(models: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return model -> modality of the API's catalogue."""
    return {model["id"]: kind for model in models if isinstance(kind := model.get("modality"), str)}


def microseconds(duration: timedelta) -> int:
    """Return a duration in microseconds."""
    return duration // records.MICROSECOND
