"""Prices: the user's file is read to the digit or refused by its line, and money follows from it exactly."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from reports.tables import base_tables, insert
from support import query

from pipelines import cli, status
from pipelines.errors import ConfigurationError
from pipelines.exact import EPOCH, microseconds
from pipelines.reports import create_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.sync import sync
from pipelines.tables.prices import MOST_PRICES, read_prices

Make = Callable[..., Settings]
HEAD = "valid_from,price_per_credit,currency\n"
PACKS = "valid_from,paid,credits,currency\n"


@pytest.fixture
def file(isolated: Path) -> Path:
    (isolated / ".dlt").mkdir()
    return isolated / ".dlt" / "prices.csv"


# The file


@pytest.mark.parametrize(
    ("text", "price", "pack"),
    [
        (HEAD + "2026-01-01,0.01,USD\n", "0.01", None),
        ("\ufeff valid_from , currency , price_per_credit\r\n\r\n 2026-01-01 , USD , 0.0123456789 \r\n\r\n",
         "0.0123456789", None),
        (HEAD + '"2026-01-01","99999999.9999999999",USD', "99999999.9999999999", None),
        (PACKS + "2026-01-01,29,3000,USD\n", "0.0096666667", ("29", "3000")),
        (PACKS + "2026-01-01,1,16384,USD\n", "0.0000610352", ("1", "16384")),
        (PACKS + "2026-01-01,0.0001,20000,USD\n", "0.000000005", ("0.0001", "20000")),
        # Half to even, at the eleventh digit: 0.00000000125 and 0.00000000375
        (PACKS + "2026-01-01,0.0005,400000,USD\n", "0.0000000012", ("0.0005", "400000")),
        (PACKS + "2026-01-01,0.0015,400000,USD\n", "0.0000000038", ("0.0015", "400000")),
        ("valid_from,price_per_credit,paid,credits,currency\n2026-01-01,,10,1000,USD\n", "0.01", ("10", "1000")),
        ("valid_from,price_per_credit,paid,credits,currency\n2026-01-01,0.02,,,USD\n", "0.02", None),
    ],
)  # fmt: skip
def test_a_line_is_a_price_or_a_pack(file: Path, text: str, price: str, pack: tuple[str, str] | None) -> None:
    file.write_bytes(text.encode())
    paid, amount = map(Decimal, pack) if pack else (None, None)
    assert read_prices(file) == [(date(2026, 1, 1), Decimal(price), "USD", paid, amount)]


def test_lines_may_stand_in_any_order_and_a_file_may_hold_none(file: Path) -> None:
    assert read_prices(file) == []
    file.write_text(HEAD)
    assert read_prices(file) == []
    file.write_text(HEAD + "2026-02-01,2,EUR\n2026-01-01,1,USD\n")
    assert [price.currency for price in read_prices(file)] == ["USD", "EUR"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "the first line must name the columns"),
        ("\n\n", 1, "the first line must name the columns"),
        ("2026-01-01,0.01,USD\n", 1, "the first line must name the columns"),
        ("valid_from,price,currency\n", 1, "valid_from,price,currency"),
        ("valid_from,price_per_credit,currency,currency\n", 1, "the first line must name the columns"),
        ("valid_from,paid,currency\n2026-01-01,1,USD\n", 1, "the first line must name the columns"),
        ("valid_from;price_per_credit;currency\n", 1, "the first line must name the columns"),
        (HEAD + "2026-01-01,0.01\n", 2, "3 cells are wanted"),
        (HEAD + "2026-01-01,0,01,USD\n", 2, "3 cells are wanted"),
        (HEAD + "\n,0.01,USD\n", 3, "valid_from must be a day like 2026-01-31, not ''"),
        (HEAD + "20260101,0.01,USD\n", 2, "valid_from"),
        (HEAD + "2026-02-30,0.01,USD\n", 2, "valid_from"),
        (HEAD + "2026-01-01T00:00,0.01,USD\n", 2, "valid_from"),
        (HEAD + "٢٠٢٦-01-01,0.01,USD\n", 2, "valid_from"),
        *((HEAD + f"2026-01-01,{price},USD\n", 2, "price_per_credit must be a number above zero")
          for price in ("0", "-0.01", "nan", "Infinity", "1e-2", "0.00", "0.00000000001", "100000000", "$1", "1_0",
                        "٣")),
        *((PACKS + f"2026-01-01,{pack},USD\n", 2, name)
          for pack, name in (("0,10", "paid"), ("10,0", "credits"), ("1.00001,10", "paid"), ("nan,10", "paid"))),
        (PACKS + "2026-01-01,0.0001,99999999999999,USD\n", 2, "is no price"),
        (PACKS + "2026-01-01,99999999999999,0.0001,USD\n", 2, "is no price"),
        *((HEAD + f"2026-01-01,0.01,{currency}\n", 2, "currency must be three capital letters")
          for currency in ("", "usd", "US", "USDT", "$", "ÜSD")),
        ("valid_from,price_per_credit,paid,credits,currency\n2026-01-01,1,10,1000,USD\n", 2, "either price_per_credit"),
        ("valid_from,price_per_credit,paid,credits,currency\n2026-01-01,,,,USD\n", 2, "either price_per_credit"),
        ("valid_from,price_per_credit,paid,credits,currency\n2026-01-01,,10,,USD\n", 2, "credits"),
        (HEAD + "2026-01-01,1,USD\n2026-02-01,1,USD\n2026-01-01,2,EUR\n", 4, "already, in line 2"),
        (HEAD + "2026-01-01,1,USD\n\udce4\n", 3, "UTF-8"),
        (HEAD + '2026-01-01,"1,USD\n', 2, "unexpected end of data"),
        (HEAD + "2026-01-01,1\x1b[31m\0,USD\n", 2, "price_per_credit"),
        (HEAD + "".join(f"{date(2000, 1, 1) + timedelta(days=day)},1,USD\n" for day in range(MOST_PRICES + 1)),
         MOST_PRICES + 2, f"at most {MOST_PRICES} prices"),
        (HEAD + f"2026-01-01,{'1' * 100_000},USD\n", 2, "price_per_credit"),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_by_file_and_line(file: Path, text: str, line: int, reason: str) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError) as caught:
        read_prices(file)
    told = str(caught.value)
    assert told.startswith(f"{file}:{line}: ")
    assert reason in told
    assert told.isprintable()
    assert len(told) < len(str(file)) + 300


def test_a_folder_in_its_place_is_refused_by_name(file: Path) -> None:
    file.mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot read .*prices\.csv: it is no file"):
        read_prices(file)


def test_a_broken_file_ends_a_sync_before_anything_is_read(api: Sandbox, settings_for: Make, file: Path) -> None:
    file.write_text(HEAD + "2026-01-01,free,USD\n")
    with pytest.raises(ConfigurationError, match=r"prices\.csv:2: "):
        sync(settings_for(api))
    assert api.requests == []


# The table


@pytest.mark.everywhere
def test_a_changed_file_takes_effect_with_the_next_sync_also_an_idle_one(
    settings_for: Make, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORTS__TIMEZONE", "America/New_York")  # for readers, who make the views on Delta, too
    with Sandbox(jobs=0) as api:
        chosen = settings_for(api)
        api.add(1, status="COMPLETED", creditCost=1.5, created_at=datetime(2026, 3, 1, 4, 59, 59, tzinfo=UTC))
        api.add(1, status="COMPLETED", creditCost=1.5, created_at=datetime(2026, 3, 1, 5, 0, tzinfo=UTC))
        sync(chosen)
        sync(chosen)
        costs = "select cost, currency from reports.jobs order by created_at"
        assert query(chosen.path, costs) == [(None, None)] * 2
        file.write_text(PACKS + "2026-03-01,29,3000,USD\n")
        assert sync(chosen).run.requests == 1
        assert query(chosen.path, costs) == [(None, None), (Decimal("0.01450000005"), "USD")]
        file.write_text(HEAD + "2026-02-28,0.3333333333,EUR\n2026-03-01,12345678.0123456789,JPY\n")
        assert sync(chosen).run.requests == 1
        assert query(chosen.path, costs) == [
            (Decimal("0.49999999995"), "EUR"),
            (Decimal("18518517.01851851835"), "JPY"),
        ]
        months = "select cost, currency, jobs_without_price from reports.monthly_spend order by month"
        assert query(chosen.path, months) == [
            (Decimal("0.49999999995"), "EUR", 0),
            (Decimal("18518517.01851851835"), "JPY", 0),
        ]
        held = "select cast(valid_from as varchar), price_per_credit, currency, paid, credits from apiframe.prices"
        assert sorted(query(chosen.path, held)) == [
            ("2026-02-28", Decimal("0.3333333333"), "EUR", None, None),
            ("2026-03-01", Decimal("12345678.0123456789"), "JPY", None, None),
        ]
        file.unlink()
        sync(chosen)
        assert query(chosen.path, costs) == [(None, None)] * 2


def test_an_unchanged_file_is_not_stored_again(
    api: Sandbox, settings_for: Make, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.stores.duckdb import DuckDBStore

    written: list[str] = []
    write = DuckDBStore.write
    monkeypatch.setattr(
        DuckDBStore, "write", lambda store, table, rows: (written.append(table.name), write(store, table, rows))[1]
    )
    chosen = settings_for(api)
    for text, stored in (("", 1), ("", 1), ("2026-01-01,29,3000,USD\n", 2), ("", 2), ("2026-03-01,1,7,EUR\n", 3)):
        if not file.exists() or text:
            file.write_text((file.read_text() if file.exists() else PACKS + "2025-12-01,1,3,USD\n") + text)
        sync(chosen)
        assert written.count("prices") == stored


# Money


def money(
    zone: str, prices: list[tuple[str, str, str]], jobs: list[tuple[str, str]], sql: str
) -> list[tuple[Any, ...]]:
    """What a query gives over finished jobs of a model, created then and of that cost, at these prices."""
    with base_tables() as connection:
        for place, (created_at, cost) in enumerate(jobs):
            job = {"id": f"{place:03}", "status": "COMPLETED", "model": "m"}
            insert(connection, "jobs", [{**job, "created_at": created_at, "credit_cost": cost}])
        for valid_from, price, currency in prices:
            insert(connection, "prices", [{"valid_from": valid_from, "price_per_credit": price, "currency": currency}])
        create_views(connection, zone)
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("zone", "day", "last", "first"),
    [
        ("UTC", "2026-03-29", "2026-03-28T23:59:59.999999Z", "2026-03-29T00:00:00Z"),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T22:59:59.999999Z", "2026-03-28T23:00:00Z"),
        ("Europe/Berlin", "2026-03-30", "2026-03-29T21:59:59.999999Z", "2026-03-29T22:00:00Z"),
        ("Pacific/Kiritimati", "2026-01-01", "2025-12-31T09:59:59.999999Z", "2025-12-31T10:00:00Z"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T02:59:59.999999Z", "2018-11-04T03:00:00Z"),  # has no midnight
        ("America/Havana", "2025-11-02", "2025-11-02T03:59:59.999999Z", "2025-11-02T04:00:00Z"),  # has two
    ],
)
def test_a_price_holds_from_the_local_midnight_of_its_day(zone: str, day: str, last: str, first: str) -> None:
    prices = [("2010-01-01", "1", "EUR"), (day, "2", "USD")]
    found = money(zone, prices, [(last, "1"), (first, "1")], "select cost, currency from reports.jobs order by id")
    assert found == [(1, "EUR"), (2, "USD")]


def test_a_month_over_a_change_of_price_adds_up_exactly() -> None:
    jobs = [(f"2026-01-{1 + place % 31:02}T12:00:00Z", "0.0001") for place in range(310)]
    prices = [("2026-01-01", "0.0000000001", "USD"), ("2026-01-17", "0.3333333333", "USD")]
    exact = 160 * Decimal("0.0001") * Decimal("0.0000000001") + 150 * Decimal("0.0001") * Decimal("0.3333333333")
    assert money("UTC", prices, jobs, "select cost, currency from reports.monthly_spend") == [(exact, "USD")]
    assert money("UTC", prices, jobs, "select sum(cost) from reports.daily_spend") == [(exact,)]
    assert money("UTC", prices, jobs, "select sum(cost) from reports.jobs") == [(exact,)]


def test_large_costs_stay_exact() -> None:
    jobs = [("2026-01-01T12:00:00Z", "10000000000000.0001")] * 3
    prices = [("2026-01-01", "99999999.9999999999", "USD")]
    for sql in ("select sum(cost) from reports.jobs", "select cost from reports.monthly_spend"):
        [(found,)] = money("UTC", prices, jobs, sql)
        assert str(found) == "3000000000000000026999.99999999999997"


def test_a_part_or_two_currencies_never_look_like_a_whole() -> None:
    jobs = [("2026-01-01T12:00:00Z", "1"), ("2026-01-20T12:00:00Z", "1"), ("2026-01-20T12:00:00Z", "0")]
    sql = "select cost, currency, jobs_without_price from reports.monthly_spend"
    assert money("UTC", [("2026-01-02", "1", "USD")], jobs, sql) == [(None, "USD", 1)]
    assert money("UTC", [("2026-01-01", "1", "USD"), ("2026-01-02", "1", "EUR")], jobs, sql) == [(None, None, 0)]
    assert money("UTC", [("2026-01-02", "1", "USD")], jobs[1:], sql) == [(1, "USD", 0)]
    assert money("UTC", [("2026-02-01", "1", "USD")], jobs, sql) == [(None, None, 2)]
    free = [("2026-01-01T12:00:00Z", "0"), ("2026-01-20T12:00:00Z", "1")]
    assert money("UTC", [("2026-01-02", "1", "USD")], free, sql) == [(1, "USD", 0)], "what is free needs no price"


# The status


@pytest.mark.everywhere
def test_the_status_tells_what_the_month_has_cost(settings_for: Make, file: Path) -> None:
    now = datetime(2026, 3, 10, tzinfo=UTC)
    with Sandbox(jobs=0) as api:
        chosen = settings_for(api)
        for day, cost in ((datetime(2026, 2, 27, tzinfo=UTC), 7), (now, 2.5), (now - timedelta(days=8), 10)):
            api.add(1, status="COMPLETED", creditCost=cost, created_at=day)
        sync(chosen)
        spent = [status.facts(chosen, microseconds(now - EPOCH))["spent_this_month"]]
        for text in ("2026-03-09,0.02,USD\n", "2026-03-01,0.01,USD\n2026-03-09,0.02,USD\n",
                     "2026-01-01,1,EUR\n2026-03-09,2,USD\n"):  # fmt: skip
            file.write_text(HEAD + text)
            sync(chosen)
            spent.append(status.facts(chosen, microseconds(now - EPOCH))["spent_this_month"])
    assert [tuple(found.values()) for found in spent] == [
        ("2026-03", Decimal("12.5"), None, None, 2),
        ("2026-03", Decimal("12.5"), None, "USD", 1),
        ("2026-03", Decimal("12.5"), Decimal("0.15"), "USD", 0),
        ("2026-03", Decimal("12.5"), None, None, 0),
    ]
    ends = ["", ", 1 job without a price", ", 0.15 USD", ", the prices are in more than one currency"]
    for found, end in zip(spent, ends, strict=True):
        facts = status.facts(chosen, microseconds(now - EPOCH)) | {"spent_this_month": found}
        assert f"this month      12.5 credits spent{end}" in cli._status_lines(facts)


# The catalogue


@pytest.mark.everywhere
def test_what_models_charge_is_held_against_the_catalogue(settings_for: Make) -> None:
    with Sandbox(jobs=200, days=9) as api:
        chosen = settings_for(api)
        for model, cost, day in (
            ("midjourney", 16, 3),
            ("midjourney", 16, 2),
            ("kling-2.6", 1, 1),
            ("unheard-of", 7, 1),
        ):
            api.add(1, model=model, status="COMPLETED", creditCost=cost, created_at=datetime(2020, 1, day, tzinfo=UTC))
        sync(chosen)
    outside = query(
        chosen.path,
        "select model, credits, jobs, cast(first_day as varchar), cast(last_day as varchar), against_catalogue "
        "from reports.prices_paid where coalesce(against_catalogue, '-') <> 'within' order by model",
    )
    assert outside == [
        ("kling-2.6", 1, 1, "2020-01-01", "2020-01-01", "below"),
        ("midjourney", 16, 2, "2020-01-02", "2020-01-03", "above"),
        ("unheard-of", 7, 1, "2020-01-01", "2020-01-01", None),
    ]
    scaled = query(chosen.path, "select max(rows) from (select count(*) as rows from reports.prices_paid "
                   "where against_catalogue = 'within' group by model) as models")  # fmt: skip
    assert scaled[0][0] > 1, "a model whose cost scales has a row for each"
