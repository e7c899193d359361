"""The charges as finance reads them: FOCUS, a file a billing period, in the folders that its tools look for.

What a charge is, and what it costs, says the view reports.focus; here are FOCUS' names, its versions, and the grain.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from pipelines import files
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.reports import literal, read_views
from pipelines.reports.queries import NO_VIEWS
from pipelines.wording import counted, exact

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "apiframe"  # of a file: others may lie beside it, of other providers
#: Columns that FOCUS has since 1.3 or 1.4.
AFTER_1_2 = frozenset(
    (
        "allocated_method_details",
        "allocated_method_id",
        "allocated_resource_id",
        "allocated_resource_name",
        "allocated_tags",
        "commitment_program_eligibility_details",
        "contract_applied",
        "host_provider_name",
        "invoice_detail_id",
        "service_provider_name",
    )
)
#: Columns that 1.4 has no longer, and those that hold the same.
UNTIL_1_3 = {"provider_name": "service_provider_name", "publisher_name": "service_provider_name"}
#: What makes a row of a day; usage of one model differs in currency and price where a price begins within a UTC day.
BY_DAY = ("sku_id", "x_model", "x_modality", "service_name", "sku_meter", "tags", "billing_currency", "x_credit_price")
DAY = "date_trunc('day', charge_period_start at time zone 'UTC')"
MONTH = "cast(extract(year from {0}) * 100 + extract(month from {0}) as bigint)"
#: A day of a model in the unit in which its jobs have one price: credits.
OF_A_DAY = {
    "charge_description": "sku_id || ' for credits'",
    "charge_period_start": f"{DAY} at time zone 'UTC'",
    "charge_period_end": f"({DAY} + interval '1 day') at time zone 'UTC'",
    "consumed_quantity": "case when min(consumed_unit) = max(consumed_unit) then sum(consumed_quantity) "
    "else count(*) end",
    "consumed_unit": "case when min(consumed_unit) = max(consumed_unit) then max(consumed_unit) else 'Jobs' end",
    "contracted_unit_price": "x_credit_price",
    "list_unit_price": "x_credit_price",
    "pricing_currency_contracted_unit_price": "1",
    "pricing_currency_list_unit_price": "1",
    "pricing_quantity": "sum(x_credit_cost)",
    "pricing_unit": "'Credits'",
    "resource_id": "cast(null as varchar)",
    "resource_type": "cast(null as varchar)",
    "sku_price_id": "sku_id || '-credits'",
    "x_job_count": "sum(x_job_count)",
    "x_job_status": "case when min(x_job_status) = max(x_job_status) then max(x_job_status) end",
}


class Wanted(NamedTuple):
    """What to write: the billing periods in which the days from `first` to `last` lie, None: all."""

    folder: Path
    first: date | None = None
    last: date | None = None
    form: str = "parquet"  # or csv
    version: str = "1.2"  # or 1.4
    grain: str = "job"  # or day


class Written(NamedTuple):
    """A file, and what its rows add up to, by currency."""

    billing_period: str
    path: Path
    rows: int
    effective_cost: dict[str, Decimal]
    billed_cost: dict[str, Decimal]


class Exported(NamedTuple):
    """The files of an export, and the jobs that have no row since their cost is unknown."""

    files: list[Written]
    jobs_cost_unknown: int


def export(connection: Any, wanted: Wanted) -> Exported:
    """Write a file a billing period, each as a whole or not at all; nothing else in the folder is touched.

    A period is always written whole, so that its file replaces an older one without a loss. Where one has no charge any
    more, its file is left without rows: it would state a cost that there is not. Raises ConfigurationError, before
    anything is written, where a job has no price.
    """
    if wanted.folder.suffix in (".parquet", ".csv", ".json") and not wanted.folder.is_dir():
        raise ConfigurationError(f"--to {wanted.folder}: focus is written to a folder, a file a month; see --format")
    _refuse_without_price(connection, wanted)
    periods = {period for (period,) in _ask(connection, f"select distinct {_month()} from reports.focus")}
    periods |= _periods_there(wanted.folder, wanted.form)
    chosen = [period for period in sorted(periods) if _is_wanted(period, wanted)]
    unknown = _ask(
        connection,
        "select count(*) from reports.jobs where is_cost_unknown and not is_open "
        f"and {_span(MONTH.format('created_at'), wanted)}",
    )
    return Exported([_write(connection, period, wanted) for period in chosen], int(unknown[0][0]))


def facts(found: Exported, wanted: Wanted) -> dict[str, Any]:
    """Return what was written, for a program: amounts by currency, exact."""
    written = [{**each._asdict(), "path": str(each.path)} for each in found.files]
    return {
        "path": str(wanted.folder),
        "version": wanted.version,
        "grain": wanted.grain,
        "rows": sum(each.rows for each in found.files),
        "effective_cost": _summed(each.effective_cost for each in found.files),
        "billed_cost": _summed(each.billed_cost for each in found.files),
        "jobs_cost_unknown": found.jobs_cost_unknown,
        "files": written,
    }


def told(found: Exported) -> list[str]:
    """Return the same in lines, for a person."""
    lines = [
        f"{each.billing_period}: {counted(each.rows, 'row')}, {_money(each.effective_cost)} used, "
        f"{_money(each.billed_cost)} bought: {each.path}"
        for each in found.files
    ]
    used = _money(_summed(each.effective_cost for each in found.files))
    bought = _money(_summed(each.billed_cost for each in found.files))
    rows = counted(sum(each.rows for each in found.files), "row")
    lines.append(f"in all: {rows}, {used} used, {bought} bought" if found.files else "no charges: nothing to write")
    if found.jobs_cost_unknown:
        lines.append(f"left out, since their cost is unknown: {counted(found.jobs_cost_unknown, 'job')}")
    return lines


def _summed(totals: Iterable[dict[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for total in totals:
        for currency, amount in total.items():
            found[currency] = found.get(currency, Decimal(0)) + amount
    return found


def _money(total: dict[str, Decimal]) -> str:
    amounts = [f"{exact(amount, digits=14)} {currency}" for currency, amount in sorted(total.items())]
    return " and ".join(amounts) or "nothing"


def focus_name(column: str) -> str:
    """Return FOCUS' name of a column: BilledCost, x_JobStatus."""
    prefix, name = ("x_", column[2:]) if column.startswith("x_") else ("", column)
    return prefix + "".join(part.capitalize() for part in name.split("_"))


def columns(version: str) -> dict[str, str]:
    """Return FOCUS' names of a version's columns, in order, with the columns of the view that hold them."""
    [view] = [view for view in read_views() if view.name == "focus"]
    held = {column: column for column in view.columns}
    if version == "1.2":
        held = {column: column for column in held if column not in AFTER_1_2} | UNTIL_1_3
    names = {focus_name(column): source for column, source in held.items()}
    return {name: names[name] for name in sorted(names)}


def query(period: int, version: str, grain: str) -> str:
    """Return the select that gives a billing period (202610) as a version has it."""
    named = columns(version)
    plain = ", ".join(f'{column} as "{name}"' for name, column in named.items())
    here = f"from reports.focus where {_month()} = {period}"
    order = 'order by "ChargePeriodStart", "ChargeCategory", "SkuId", "ResourceId", "x_CreditPrice"'
    if grain == "job":
        return f"select {plain} {here} {order}"
    summed = ", ".join(f'{_of_a_day(column)} as "{name}"' for name, column in named.items())
    return (
        f"select {summed} {here} and charge_category = 'Usage' group by {DAY}, {', '.join(BY_DAY)} "
        f"union all select {plain} {here} and charge_category = 'Purchase' {order}"
    )


def _of_a_day(column: str) -> str:
    if column in OF_A_DAY:
        return OF_A_DAY[column]
    if column in BY_DAY:
        return column
    return f"sum({column})" if column.endswith("_cost") else f"max({column})"


def _month() -> str:
    return MONTH.format("billing_period_start")


def _span(month: str, wanted: Wanted) -> str:
    bounds = [f"{month} >= {_number(wanted.first)}"] if wanted.first else []
    bounds += [f"{month} <= {_number(wanted.last)}"] if wanted.last else []
    return " and ".join(bounds) or "true"


def _is_wanted(period: int, wanted: Wanted) -> bool:
    first, last = wanted.first, wanted.last
    return (first is None or period >= _number(first)) and (last is None or period <= _number(last))


def _number(day: date) -> int:
    return day.year * 100 + day.month


def _label(period: int) -> str:
    return f"{period // 100:04}-{period % 100:02}"


def _file(folder: Path, period: str, form: str) -> Path:
    return folder / f"billing_period={period}" / f"{NAME}.{form}"


def _periods_there(folder: Path, form: str) -> set[int]:
    """Return the billing periods of which an older export has left a file."""
    found = _file(folder, "[0-9][0-9][0-9][0-9]-[0-9][0-9]", form).relative_to(folder)
    return {int(file.parent.name[-7:].replace("-", "")) for file in folder.glob(str(found))}


def _ask(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    try:
        rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        raise ApiframeWarehouseError(NO_VIEWS) from None
    return rows


def _refuse_without_price(connection: Any, wanted: Wanted) -> None:
    [(jobs, day)] = _ask(
        connection,
        "select count(*), cast(min(jobs.day) as varchar) from reports.focus "
        "inner join reports.jobs on focus.resource_id = jobs.id "
        f"where focus.effective_cost is null and {_span(_month(), wanted)}",
    )
    if jobs:
        has = "has" if jobs == 1 else "have"
        raise ConfigurationError(
            f"{counted(jobs, 'job')} from {day} on {has} no price: add a line to .dlt/prices.csv and run "
            "apiframe-warehouse sync"
        )


def _write(connection: Any, period: int, wanted: Wanted) -> Written:
    rows = _typed(connection.sql(query(period, wanted.version, wanted.grain)).to_arrow_table())
    target = _file(wanted.folder, _label(period), wanted.form)
    files.replace(target, partial(_parquet if wanted.form == "parquet" else _csv, rows))
    totals = rows.group_by("BillingCurrency").aggregate([("EffectiveCost", "sum"), ("BilledCost", "sum")]).to_pylist()
    return Written(
        _label(period),
        target,
        int(rows.num_rows),
        {total["BillingCurrency"]: total["EffectiveCost_sum"] for total in totals},
        {total["BillingCurrency"]: total["BilledCost_sum"] for total in totals},
    )


def _typed(rows: pa.Table) -> pa.Table:
    """Return rows whose columns have the same types whatever the engine, and whatever is null."""
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name == "x_JobCount":
            return pa.int64()
        if name.endswith(("Cost", "Price", "Quantity")):
            return pa.decimal128(38, 14)
        return pa.timestamp("us", "UTC") if name.endswith(("Start", "End")) else pa.string()

    return rows.cast(pa.schema([(name, kind(name)) for name in rows.column_names]))


def _parquet(rows: pa.Table, file: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(rows, file, compression="zstd")


def _csv(rows: pa.Table, file: Path) -> None:
    # By DuckDB, which writes no decimal as 0E-14, and quotes only what needs it.
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("charges", rows)
        how = "format csv, header, use_tmp_file false, timestampformat '%Y-%m-%dT%H:%M:%SZ'"
        connection.execute(f"copy charges to {literal(str(file))} ({how})")
