"""docs/focus-example.md: its tables are what an export of that month gives.

`FOCUS_EXAMPLE=write pytest tests/test_focus_example.py` writes them anew.
"""

import os
import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.focus import Wanted, export
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync
from pipelines.wording import exact

PAGE = Path(__file__).parent.parent / "docs" / "focus-example.md"
PACKS = "valid_from,paid,credits,currency\n2026-09-20,29,3000,USD\n2026-10-11,100,10000,USD\n"
SHOWN = [
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "PricingQuantity",
    "PricingUnit",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyListUnitPrice",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "ProviderName",
    "PublisherName",
    "InvoiceIssuerName",
    "ServiceCategory",
    "ServiceSubcategory",
    "ServiceName",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "ResourceId",
    "ResourceType",
]
Row = dict[str, Any]


def test_the_page_shows_what_is_exported(settings_for: Callable[..., Settings], isolated: Path, tmp_path: Path) -> None:
    (isolated / ".dlt").mkdir()
    (isolated / ".dlt" / "prices.csv").write_text(PACKS)
    with Sandbox(jobs=250, days=31, now=datetime(2026, 11, 1, 12, tzinfo=UTC)) as api:
        chosen = settings_for(api)
        sync(chosen)
    october = date(2026, 10, 1)
    with closing(connect(chosen)) as connection:
        [file] = export(connection, Wanted(tmp_path / "bills", first=october, last=october)).files
    rows = pq.ParquetFile(file.path).read().to_pylist()
    page = PAGE.read_text(encoding="utf-8")
    made = page
    for name, text in (("rows", three(rows)), ("month", month(rows)), ("answers", answers(rows))):
        made = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", rf"\1{text}\n\2", made, flags=re.DOTALL)
    if os.environ.get("FOCUS_EXAMPLE") == "write":
        PAGE.write_text(made, encoding="utf-8")
    assert page == made, "write it anew: FOCUS_EXAMPLE=write pytest tests/test_focus_example.py"


def three(rows: list[Row]) -> str:
    """A pack, the first image job and the first video job, a line a column."""
    meters = ("Credits", "Image Generation", "Video Generation")
    chosen = [next(row for row in rows if row["SkuMeter"] == meter) for meter in meters]
    lines = [[name, *(shown(row[name]) for row in chosen)] for name in SHOWN]
    return table(["column", "the pack", "an image job", "a video job"], lines)


def month(rows: list[Row]) -> str:
    """What the rows add up to, by service."""
    lines = []
    for service in [*sorted({row["ServiceName"] for row in rows}), None]:
        of = [row for row in rows if service in (None, row["ServiceName"])]
        units = {row["ConsumedUnit"] for row in of if row["ConsumedUnit"]}
        files = f"{shown(sum(row['ConsumedQuantity'] for row in of))} {units.pop()}" if len(units) == 1 else ""
        sums = [
            sum(row[name] for row in of) for name in ("PricingCurrencyEffectiveCost", "EffectiveCost", "BilledCost")
        ]
        lines.append([service or "**in all**", str(len(of)), files, *map(shown, sums)])
    return table(["ServiceName", "rows", "consumed", "credits used", "EffectiveCost", "BilledCost"], lines)


def answers(rows: list[Row]) -> str:
    """What adding up over both categories makes of it."""
    listed, effective = (sum(row[name] for row in rows) for name in ("ListCost", "EffectiveCost"))
    return (
        f"ListCost over all rows: {shown(listed)} USD; EffectiveCost: {shown(effective)} USD. As an effective savings "
        f"rate that is {100 * (listed - effective) / listed:.1f} %, though all credits were paid at their list price."
    )


def shown(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return "null" if value is None else exact(value, digits=14) if isinstance(value, (Decimal, int)) else str(value)


def table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines])
