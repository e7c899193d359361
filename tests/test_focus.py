"""`export focus`: charges as finance reads them, a file a month, and to the last digit what the report says."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import query

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.focus import AFTER_1_2, Wanted, columns, export, focus_name, told
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync

Make = Callable[..., Settings]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PACKS = "valid_from,paid,credits,currency\n2026-01-10,29,3000,USD\n2026-11-01,100,10000,USD\n"
ONE = {"model": "midjourney", "status": "COMPLETED", "creditCost": 16, "result": {"images": ["a", "b", "c", "d"]}}
LABELS = {"project": "alpha", "client": "it's \\ <b>ü</b>"}
everywhere = pytest.mark.everywhere


@pytest.fixture
def prices(isolated: Path) -> Path:
    (isolated / ".dlt").mkdir()
    file = isolated / ".dlt" / "prices.csv"
    file.write_text(PACKS)
    return file


@pytest.fixture
def bills(tmp_path: Path) -> Path:
    return tmp_path / "bills"


@pytest.fixture
def account() -> Iterator[Sandbox]:
    """Two months of jobs; some that failed and cost credits, some of unknown models, results and costs."""
    with Sandbox(jobs=400, days=60, now=NOW) as api:
        api.add(2, status="FAILED", creditCost=0.5, error="x", model='=1+1 "quoted"\nline')
        api.add(2, status="COMPLETED", creditCost="10.25", result={"odd": 1}, model=None)
        api.add(3, status="COMPLETED", creditCost=None, model="midjourney")
        api.add(1, status="PROCESSING", creditCost=7, model="midjourney")
        yield api


def written(chosen: Settings, folder: Path, **wanted: Any) -> Any:
    with closing(connect(chosen)) as connection:
        return export(connection, Wanted(folder, **wanted))


def rows(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.ParquetFile(file).read() for file in sorted(folder.glob("billing_period=*/apiframe.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


@everywhere
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_costs_add_up_to_those_of_the_report_to_the_last_digit(
    account: Sandbox, settings_for: Make, prices: Path, bills: Path, zone: str
) -> None:
    chosen = settings_for(account, timezone=zone)
    sync(chosen)
    [(cost, spent, jobs)] = query(
        chosen.path, "select sum(cost), sum(credits), sum(case when credits <> 0 then 1 end) from reports.jobs"
    )
    assert cost
    for version in ("1.2", "1.4"):
        for grain in ("job", "day"):
            found = written(chosen, bills / version / grain, version=version, grain=grain)
            assert [each.billing_period for each in found.files] == ["2026-01", "2026-09", "2026-10", "2026-11"]
            assert sum(each.effective_cost["USD"] for each in found.files) == cost
            assert [each.billed_cost["USD"] for each in found.files] == [29, 0, 0, 100]
            assert found.jobs_cost_unknown == 3
            charges = rows(bills / version / grain)
            assert sum(each.rows for each in found.files) == len(charges)
            usage = [row for row in charges if row["ChargeCategory"] == "Usage"]
            assert sum(row["EffectiveCost"] for row in usage) == cost
            assert sum(row["PricingCurrencyEffectiveCost"] for row in usage) == spent
            assert sum(row["x_JobCount"] for row in usage) == jobs
            assert all(row["ListUnitPrice"] * row["PricingQuantity"] == row["ListCost"] for row in usage)
            assert all(row["BillingPeriodStart"] <= row["ChargePeriodStart"] for row in charges)
            assert all(row["ChargePeriodEnd"] <= row["BillingPeriodEnd"] for row in charges)
            assert {row["BillingAccountName"] for row in charges} == {None}, "no balance was read"


@everywhere
def test_a_job_and_a_pack_are_a_row_each(settings_for: Make, prices: Path, bills: Path) -> None:
    with Sandbox(jobs=0, now=NOW) as api:
        [job] = api.add(1, created_at="2026-11-03T09:59:59Z", **ONE)
        chosen = settings_for(api, balance_every="1h")
        sync(chosen)
        found = written(chosen, bills, version="1.4")
        [(team,)] = query(chosen.path, "select team_id from apiframe.sync_runs")
    assert [each.path.relative_to(bills).as_posix() for each in found.files] == [
        "billing_period=2026-01/apiframe.parquet",
        "billing_period=2026-11/apiframe.parquet",
    ]
    [pack, usage] = [{name: value for name, value in row.items() if value is not None} for row in rows(bills)[1:]]
    bill = {
        "BillingAccountId": team,
        "BillingAccountName": "Sandbox",
        "BillingAccountType": "Team",
        "BillingCurrency": "USD",
        "BillingPeriodStart": datetime(2026, 11, 1, tzinfo=UTC),
        "BillingPeriodEnd": datetime(2026, 12, 1, tzinfo=UTC),
        "HostProviderName": "Apiframe",
        "InvoiceIssuerName": "Apiframe",
        "PricingCategory": "Standard",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceProviderName": "Apiframe",
        "ServiceSubcategory": "Generative AI",
        "x_CreditPrice": Decimal("0.01"),
    }
    assert usage == bill | {
        "BilledCost": 0,
        **dict.fromkeys(("ContractedCost", "EffectiveCost", "ListCost"), Decimal("0.16")),
        **dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), Decimal("0.16")),
        "ChargeCategory": "Usage",
        "ChargeDescription": "midjourney for 16 credits",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": datetime(2026, 11, 3, 9, tzinfo=UTC),
        "ChargePeriodEnd": datetime(2026, 11, 3, 10, tzinfo=UTC),
        "ConsumedQuantity": 4,
        "ConsumedUnit": "Images",
        "PricingCurrency": "Credits",
        "PricingCurrencyContractedUnitPrice": 16,
        "PricingCurrencyEffectiveCost": 16,
        "PricingCurrencyListUnitPrice": 16,
        "PricingQuantity": 1,
        "PricingUnit": "Jobs",
        "ResourceId": job,
        "ResourceType": "Generation Job",
        "ServiceName": "Apiframe Image Generation",
        "SkuId": "midjourney",
        "SkuMeter": "Image Generation",
        "SkuPriceId": "midjourney-16",
        "x_CreditCost": 16,
        "x_JobCount": 1,
        "x_JobStatus": "COMPLETED",
        "x_Modality": "image",
        "x_Model": "midjourney",
    }
    assert pack == bill | {
        "EffectiveCost": 0,
        **dict.fromkeys(("BilledCost", "ContractedCost", "ListCost"), 100),
        **dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), Decimal("0.01")),
        "ChargeCategory": "Purchase",
        "ChargeDescription": "10000 credits",
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": datetime(2026, 11, 1, tzinfo=UTC),
        "ChargePeriodEnd": datetime(2026, 11, 2, tzinfo=UTC),
        "PricingCurrency": "USD",
        "PricingCurrencyContractedUnitPrice": Decimal("0.01"),
        "PricingCurrencyEffectiveCost": 0,
        "PricingCurrencyListUnitPrice": Decimal("0.01"),
        "PricingQuantity": 10000,
        "PricingUnit": "Credits",
        "ServiceName": "Apiframe Credits",
        "SkuId": "credits",
        "SkuMeter": "Credits",
        "SkuPriceId": "credits-0.01",
    }


@everywhere
def test_a_day_of_a_model_is_a_row(settings_for: Make, prices: Path, bills: Path) -> None:
    with Sandbox(jobs=0, now=NOW) as api:
        api.add(2, created_at="2026-11-03T00:00:00Z", **ONE)
        api.add(1, created_at="2026-11-03T23:59:59Z", **(ONE | {"creditCost": 32.5, "status": "FAILED"}))
        api.add(1, created_at="2026-11-03T12:00:00Z", **(ONE | {"model": "flux"}))
        api.add(1, created_at="2026-11-04T00:00:00Z", **ONE)
        chosen = settings_for(api)
        sync(chosen)
        written(chosen, bills, grain="day", first=date(2026, 11, 1))
    days = [row for row in rows(bills) if row["ChargeCategory"] == "Usage"]
    assert [(row["ChargePeriodStart"].day, row["SkuId"], row["x_JobCount"]) for row in days] == [
        (3, "flux", 1),
        (3, "midjourney", 3),
        (4, "midjourney", 1),
    ]
    three = days[1]
    assert (three["PricingQuantity"], three["PricingUnit"]) == (Decimal("64.5"), "Credits")
    assert (three["ListUnitPrice"], three["EffectiveCost"]) == (Decimal("0.01"), Decimal("0.645"))
    assert (three["PricingCurrencyListUnitPrice"], three["PricingCurrencyEffectiveCost"]) == (1, Decimal("64.5"))
    assert (three["x_JobStatus"], three["ResourceId"], three["ResourceType"]) == (None, None, None)
    assert days[0]["x_JobStatus"] == "COMPLETED"
    assert three["ChargePeriodEnd"] - three["ChargePeriodStart"] == timedelta(days=1)
    assert three["ChargeDescription"] == "midjourney for credits"


@everywhere
def test_labels_are_tags_and_a_day_has_a_row_for_each_set_of_them(
    settings_for: Make, prices: Path, bills: Path
) -> None:
    with Sandbox(jobs=0, now=NOW) as api:
        one, other, third = api.add(3, created_at="2026-11-03T10:00:00Z", **ONE)
        lines = (f"{job},{label},{value}\n" for job in (one, other) for label, value in LABELS.items())
        prices.with_name("labels.csv").write_text("job_id,label,value\n" + "".join(lines))
        chosen = settings_for(api)
        sync(chosen)
        for grain in ("job", "day"):
            written(chosen, bills / grain, grain=grain)
    tags = {row["ResourceId"]: row["Tags"] for row in rows(bills / "job") if row["ResourceId"]}
    assert {job: held and json.loads(held) for job, held in tags.items()} == {one: LABELS, other: LABELS, third: None}
    days = {row["Tags"]: row["x_JobCount"] for row in rows(bills / "day") if row["ChargeCategory"] == "Usage"}
    assert days == {tags[one]: 2, None: 1}


@pytest.mark.parametrize(("version", "more"), [("1.2", {"ProviderName", "PublisherName"}), ("1.4", set())])
def test_a_version_has_its_columns(version: str, more: set[str]) -> None:
    names = list(columns(version))
    assert names == sorted(names)
    newer = {focus_name(column) for column in AFTER_1_2}
    assert newer & set(names) == (newer if version == "1.4" else set())
    assert {"ProviderName", "PublisherName"} & set(names) == more
    assert {"BilledCost", "SkuPriceId", "Tags", "RegionId", "x_JobStatus"} <= set(names)
    assert ("ServiceProviderName" in names) == (version == "1.4")


@everywhere
def test_every_column_has_its_type_also_where_all_is_null(settings_for: Make, prices: Path, bills: Path) -> None:
    with Sandbox(jobs=0, now=NOW) as api:
        api.add(1, **ONE)
        chosen = settings_for(api)
        sync(chosen)
        written(chosen, bills, version="1.4")
    january, november = (
        pq.ParquetFile(bills / f"billing_period=2026-{month}" / "apiframe.parquet").schema_arrow
        for month in ("01", "11")
    )
    assert january.equals(november)
    money = {field.name for field in january if field.type == pa.decimal128(38, 14)}
    assert money == {name for name in january.names if name.endswith(("Cost", "Price", "Quantity"))}
    times = {field.name for field in january if field.type == pa.timestamp("us", "UTC")}
    assert times == {name for name in january.names if name.endswith(("Start", "End"))}
    assert {field.name for field in january if field.type == pa.int64()} == {"x_JobCount"}


def test_csv_has_the_values_of_parquet(account: Sandbox, settings_for: Make, prices: Path, bills: Path) -> None:
    chosen = settings_for(account)
    sync(chosen)
    for form in ("csv", "parquet"):
        written(chosen, bills, form=form)

    def text(value: Any) -> str:
        if isinstance(value, datetime):
            return f"{value:%Y-%m-%dT%H:%M:%SZ}"
        return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)

    expected = [{name: text(value) for name, value in row.items()} for row in rows(bills)]
    found = []
    for file in sorted(bills.glob("billing_period=*/apiframe.csv")):
        assert file.stat().st_mode & 0o777 == 0o600
        with file.open(newline="") as lines:
            found += list(csv.DictReader(lines))
    assert found == expected
    assert '=1+1 "quoted"\nline' in {row["x_Model"] for row in found}


def test_a_month_is_replaced_as_a_whole_and_nothing_else_is_touched(
    settings_for: Make, prices: Path, bills: Path
) -> None:
    with Sandbox(jobs=0, now=NOW) as api:
        api.add(1, created_at="2026-09-30T23:59:59Z", **ONE)
        [gone] = api.add(1, created_at="2026-10-01T00:00:00Z", **ONE)
        api.add(2, created_at="2026-11-02T00:00:00Z", **ONE)
        chosen = settings_for(api)
        sync(chosen)
        written(chosen, bills)
        for name in ("billing_period=2026-10/other.parquet", "billing_period=2025-01/x.txt", "notes/apiframe.parquet"):
            (bills / name).parent.mkdir(exist_ok=True)
            (bills / name).write_text("theirs")
        before = {file: file.read_bytes() for file in bills.rglob("*") if file.is_file()}

        api.put(gone, creditCost=0)
        api.add(1, created_at="2026-11-02T00:00:00Z", **ONE)
        sync(chosen, full=True)
        middle = {"first": date(2026, 10, 17), "last": date(2026, 11, 1)}
        found = written(chosen, bills, **middle)
    assert [(each.billing_period, each.rows) for each in found.files] == [("2026-10", 0), ("2026-11", 4)]
    assert told(found)[0].startswith("2026-10: 0 rows, nothing used, nothing bought: ")
    after = {file: file.read_bytes() for file in bills.rglob("*") if file.is_file()}
    assert after.keys() == before.keys()
    changed = {file.relative_to(bills).as_posix() for file, held in after.items() if held != before[file]}
    assert changed == {f"billing_period=2026-{month}/apiframe.parquet" for month in (10, 11)}
    empty = pq.ParquetFile(bills / "billing_period=2026-10" / "apiframe.parquet").read()
    assert (empty.num_rows, empty.column_names) == (0, list(columns("1.2")))


@everywhere
def test_a_job_without_a_price_is_refused_before_anything_is_written(
    settings_for: Make, prices: Path, bills: Path
) -> None:
    prices.write_text("valid_from,paid,credits,currency\n2026-11-01,100,10000,USD\n")
    with Sandbox(jobs=0, now=NOW) as api:
        api.add(2, created_at="2026-10-30T10:00:00Z", **ONE)
        api.add(1, created_at="2026-10-31T10:00:00Z", **ONE)
        api.add(1, created_at="2026-10-01T10:00:00Z", **(ONE | {"creditCost": 0}))
        api.add(1, created_at="2026-11-02T10:00:00Z", **ONE)
        chosen = settings_for(api)
        sync(chosen)
    with pytest.raises(
        ConfigurationError, match=r"^3 jobs from 2026-10-30 on have no price: add a line to \.dlt/prices\.csv and run "
    ):
        written(chosen, bills)
    assert not bills.exists()
    assert [each.rows for each in written(chosen, bills, first=date(2026, 11, 30)).files] == [2]


def test_two_currencies_are_never_added_up(settings_for: Make, prices: Path, bills: Path) -> None:
    prices.write_text("valid_from,price_per_credit,currency\n2026-01-01,0.01,USD\n2026-11-10,0.02,EUR\n")
    with Sandbox(jobs=0, now=NOW) as api:
        for day in (9, 10):
            api.add(1, created_at=f"2026-11-{day:02}T10:00:00Z", **ONE)
        chosen = settings_for(api)
        sync(chosen)
        found = written(chosen, bills)
    assert found.files[0].effective_cost == {"USD": Decimal("0.16"), "EUR": Decimal("0.32")}
    assert told(found)[-1] == "in all: 2 rows, 0.32 EUR and 0.16 USD used, 0 EUR and 0 USD bought"


def test_what_cannot_be_written_is_told(settings_for: Make, prices: Path, bills: Path) -> None:
    with Sandbox(jobs=0, now=NOW) as api:
        chosen = settings_for(api)
        sync(chosen)
        assert [each.billing_period for each in written(chosen, bills / "packs").files] == ["2026-01", "2026-11"]
        prices.unlink()
        sync(chosen)
        assert told(written(chosen, bills / "none")) == ["no charges: nothing to write"]
    assert not (bills / "none").exists()
    with pytest.raises(ConfigurationError, match=r"x\.csv: focus is written to a folder"):
        written(chosen, bills / "x.csv")
    with duckdb.connect(str(chosen.path)) as older:
        older.execute("drop view reports.focus")
    with pytest.raises(ApiframeWarehouseError, match="run apiframe-warehouse sync"):
        written(chosen, bills / "none")
