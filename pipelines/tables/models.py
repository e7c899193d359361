"""The catalogue of models: the API's, and the models that only jobs name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pipelines.exact import CREDIT_LIMIT, CREDIT_STEP
from pipelines.tables import Column, Table
from pipelines.tables._sync import Sync


def rows(sync: Sync) -> Iterator[tuple[Any, ...]] | None:
    """Return the catalogue where this sync has asked for it."""
    catalogue = sync.catalogue
    return None if catalogue.listed is None else model_rows(catalogue.listed, catalogue.models, sync.started_at)


def model_rows(models: Iterable[Mapping[str, Any]], named: Iterable[str], now: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows; models that are only `named` by jobs get one without anything else."""
    by_id: dict[str, Mapping[str, Any]] = {name: {} for name in named}
    by_id |= {model["id"]: model for model in models}
    for identity, model in by_id.items():
        texts = [
            value if isinstance(value := model.get(name), str) else None
            for name in ("label", "modality", "pricingMode")
        ]
        yield identity, *texts, _cost(model.get("costMin")), _cost(model.get("costMax")), now


def _cost(value: object) -> Decimal | None:
    """Return a cost as its column holds it, None where it is no number or too large: a catalogue fails no sync."""
    if not isinstance(value, (int, float, Decimal)):
        return None
    try:
        number = Decimal(str(value)).quantize(CREDIT_STEP)
    except InvalidOperation:  # true, infinite, or more digits than a Decimal keeps
        return None
    return number if abs(number) < CREDIT_LIMIT else None


TABLE = Table(
    "models",
    "One row per model of the API's catalogue, or that a job names.",
    (
        Column("id", "VARCHAR", "The model, as jobs name it."),
        Column("label", "VARCHAR", "Its name for people; null where the catalogue does not list it."),
        Column("modality", "VARCHAR", "image, video or music."),
        Column("pricing_mode", "VARCHAR", "How the catalogue prices it."),
        Column("cost_min", "DECIMAL(18,4)", "The least that a job costs.", unit="credits"),
        Column("cost_max", "DECIMAL(18,4)", "The most that a job costs.", unit="credits"),
        Column("synced_at", "TIMESTAMPTZ", "When the catalogue was read."),
    ),
    mode="replace",
    key=("id",),
    rows=rows,
)
