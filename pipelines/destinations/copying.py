"""Bringing a DuckDB warehouse over to another destination, with its state: the next sync there goes on where it was.

Reads what the last sync left, a first load that was cut short included. Cut short itself, it is run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.apiframe import records
from pipelines.apiframe.records import Row
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.sync import CHUNK_ROWS
from pipelines.warehouse import ROW, SCHEMA, Warehouse, warehouse_for

if TYPE_CHECKING:
    from pipelines.settings import Settings

BATCH_ROWS = 5_000


class Copied(NamedTuple):
    """What was brought over, and where to."""

    place: str
    jobs: int
    syncs: int


def copy(settings: Settings, *, wait: float = 60) -> Copied:
    """Copy the DuckDB warehouse at `settings.path` to the empty warehouse that `settings.destination` names."""
    source, target = Warehouse(settings.path), warehouse_for(settings)
    if not source.path.exists() and not source.load_file.exists():
        raise ConfigurationError(f"there is no warehouse at {source.path} to copy")
    with source.lock(wait), source.open(), target.lock(wait), target.open():
        if target.last_run():
            raise ConfigurationError(f"{target.place} holds a warehouse already; copy goes to an empty one only")
        if source.has("jobs"):
            _copy_jobs(source, target)
        if source.totals() != target.totals():
            raise ApiframeWarehouseError(f"{target.place} does not hold what {source.path} does; run copy again")
        runs = source.runs()
        if source.has("models"):
            columns = "id, label, modality, pricing_mode, cost_min, cost_max, epoch_us(synced_at)"
            models = source.query(f"select {columns} from {SCHEMA}.models")
            names = ("id", "label", "modality", "pricingMode", "costMin", "costMax")
            asked = max((row[-1] for row in models), default=0)
            target.save_models([dict(zip(names, row, strict=False)) for row in models], (), asked)
        if runs:
            target.record(*runs)
            target.create_views(settings.timezone, settings.project / ".dlt" / "error_classes.csv")
            target.publish()
            target.keep_seal(source.seal())
        return Copied(str(target.place), source.totals().jobs, len(runs))


def _copy_jobs(source: Warehouse, target: Warehouse) -> None:
    # A full sync that was cut short starts anew: which jobs it has seen stays behind.
    progress = {
        scope: saved
        for scope, saved in source.state().get("progress", {}).items()
        if saved and saved["mode"] == "first"
    }
    cursor = source.connection.cursor().execute(f"select {ROW} from {SCHEMA}.jobs order by created_at desc, id")
    pipeline = target.pipeline()
    more = True

    def tables() -> Iterator[Any]:
        nonlocal more
        import dlt

        dlt.current.resource_state("jobs")["progress"] = progress
        for _ in range(CHUNK_ROWS // BATCH_ROWS):
            rows = [Row(*row) for row in cursor.fetchmany(BATCH_ROWS)]
            yield records.to_arrow(target.storable(rows))
            more = len(rows) == BATCH_ROWS
            if not more:
                return

    while more:
        target.load(pipeline, tables)
