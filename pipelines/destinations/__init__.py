"""Warehouses beyond one DuckDB file: the same questions and answers, on what dlt loads into.

Imported only where `warehouse.destination` is not duckdb. `postgres` and `delta` keep every promise that the table
in README.md does not take back; `other` is any destination of dlt, untested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ConfigurationError

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.warehouse import Warehouse


def warehouse_for(settings: Settings) -> Warehouse:
    """Return the warehouse that the settings name. Raises ConfigurationError where it cannot be used."""
    if settings.destination == "postgres":
        from pipelines.destinations.postgres import PostgresWarehouse

        return PostgresWarehouse(settings.path)
    if settings.destination == "delta":
        from pipelines.destinations.delta import DeltaWarehouse

        return DeltaWarehouse(settings)
    raise ConfigurationError(
        f"warehouse.destination = {settings.destination!r}: only sync writes to it; read it with its own tools"
    )
