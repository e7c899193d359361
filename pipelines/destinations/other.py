"""Any other destination of dlt: the source as anyone's pipeline uses it, what it needs kept in dlt's state there.

Nothing here is tested on them, and there is no `sync_runs`, view, report or check: read them with their own tools.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from typing import NamedTuple

from pipelines.apiframe import connect, source_of
from pipelines.apiframe.reading import Reading
from pipelines.errors import ConfigurationError
from pipelines.settings import Settings
from pipelines.warehouse import PIPELINE, SCHEMA, Warehouse, explain


class Merged(NamedTuple):
    """What a sync did."""

    destination: str
    jobs_read: int
    requests: int
    retries: int


def warning(settings: Settings) -> str:
    """Return what has to be said of a destination that is none of ours."""
    return (
        f"warehouse.destination = {settings.destination!r} is untested here: jobs are merged by id, "
        "without sync_runs, views, report or checks"
    )


def sync(settings: Settings, *, wait: float, on_page: Callable[[Reading], None]) -> Merged:
    """Bring table `jobs` of dataset `apiframe` up to date. A first load that is cut short starts again."""
    import dlt
    from dlt.common.destination.exceptions import DestinationException
    from dlt.common.exceptions import DltException

    from pipelines.confined import confined

    if settings.destination == "filesystem":
        raise ConfigurationError('warehouse.destination = "filesystem" cannot merge; use "delta"')
    read = 0

    def count(reading: Reading) -> None:
        nonlocal read
        read = reading.jobs_read
        on_page(reading)

    warehouse = Warehouse(settings.path)
    folder = warehouse.working_folder.with_name(f"{settings.path.name}.{settings.destination}.dlt")
    own = confined("destination", settings.destination)
    with contextlib.closing(connect(settings)) as client, warehouse.lock(wait), own:
        shutil.rmtree(folder, ignore_errors=True)  # the destination is the only memory
        try:
            pipeline = dlt.pipeline(
                PIPELINE, pipelines_dir=str(folder), destination=settings.destination, dataset_name=SCHEMA
            )
        except (DestinationException, DltException, ValueError) as problem:
            raise ConfigurationError(f"warehouse.destination = {settings.destination!r}: {problem}") from None
        try:
            pipeline.run(source_of(lambda: client, settings, count))
        except Exception as problem:
            error, cause = explain(problem)
            raise error from cause
        return Merged(settings.destination, read, client.requests, client.retries)
