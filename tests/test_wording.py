"""Figures and names as text."""

from decimal import Decimal

import pandas as pd
import pytest

from pipelines import wording


@pytest.mark.parametrize(
    ("write", "value", "shown"),
    [
        (wording.number, 1234567, "1,234,567"),
        (wording.percent, 0.0974, "9.7 %"),
        (wording.percent, 12.5, "1,250.0 %"),
        (wording.share, 0.0974, "9.7"),
        (wording.exact, Decimal("10000000000000.0001"), "10,000,000,000,000.0001"),
        (wording.exact, Decimal("1200"), "1,200"),
        (wording.exact, Decimal("0.5000"), "0.5"),
        (wording.seconds, 0.04, "0.0 s"),
        (wording.seconds, 119, "119.0 s"),
        (wording.seconds, 120, "2.0 min"),
        (wording.seconds, 7200, "2.0 h"),
        (wording.seconds, 1e6, "11.6 d"),
        (wording.age, 119, "119 seconds"),
        (wording.age, 120, "2 minutes"),
        (wording.age, 86_400 * 3 + 5, "3 days"),
    ],
)
def test_figures_as_people_read_them(write: object, value: object, shown: str) -> None:
    assert write(value) == shown  # type: ignore[operator]


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NaT])
@pytest.mark.parametrize("write", [wording.number, wording.percent, wording.share, wording.exact, wording.seconds])
def test_what_is_missing_is_a_dash(write: object, nothing: object) -> None:
    assert write(nothing) == "-"  # type: ignore[operator]


def test_what_was_added_has_a_sign_and_one_thing_is_not_many() -> None:
    assert [wording.exact(Decimal(amount), "+") for amount in ("3.10", "-2")] == ["+3.1", "-2"]
    assert [wording.counted(count, "request") for count in (0, 1, 1000)] == [
        "0 requests",
        "1 request",
        "1,000 requests",
    ]


def test_a_moment_before_the_first_year_has_a_clock_too() -> None:
    moment = pd.Timestamp("0001-01-01T00:00Z").to_pydatetime()
    assert wording.clock(moment, "Asia/Tokyo") == "0001-01-01 09:18"  # local mean time, as it was then


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, "(none)"),
        ("", "(none)"),
        (" \n\t", "(none)"),
        (float("nan"), "(none)"),
        ("a\x1b[31m\u202eb", "a [31m b"),
        ("x" * 10_000 + "-v2", "xxxx…v2"),
        ("🎨", "🎨"),
    ],
)
def test_labels_are_one_printable_line(text: object, shown: str) -> None:
    assert wording.label(text, 7 if isinstance(text, str) and len(text) > 99 else 28) == shown


def test_different_names_keep_different_labels() -> None:
    names = ["a" * 50, "a" * 20 + "b" + "a" * 29, None, "", "(none)", "a" * 50]
    shown = wording.labels(names)
    assert len(set(shown)) == len(set(names))
    assert shown[0] == shown[5]
    assert wording.labels(names[::-1])[0] == shown[0]
    assert wording.labels([float("nan"), None]) == ["(none)", "(none)"]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.00 USD"),
        ("1234567.895", "1,234,567.90 USD"),
        ("-3.1", "-3.10 USD"),
        ("0.005", "0.0050 USD"),
        ("0.0051", "0.01 USD"),
        ("0.0049", "0.0049 USD"),
        ("0.00016000000000", "0.00016 USD"),
        ("-0.00000000000099", "-0.00000000000099 USD"),
        (None, "-"),
    ],
)
def test_money_is_rounded_for_the_eye_and_never_to_nothing(amount: str | None, shown: str) -> None:
    assert wording.money(None if amount is None else Decimal(amount), "USD") == shown


@pytest.mark.parametrize(
    ("cost", "amount", "currency", "unpriced", "why"),
    [
        (5, 5, "USD", 0, ""),
        (None, 5, None, 3, ""),
        (None, 5, "USD", 1, "1 job without a price"),
        (None, 5, None, 0, "the prices are in more than one currency"),
        (None, 0, None, 0, ""),
        (float("nan"), None, None, 0, ""),
    ],
)
def test_a_cost_that_is_not_there_has_a_reason(
    cost: object, amount: object, currency: object, unpriced: int, why: str
) -> None:
    row = {"cost": cost, "credits": amount, "currency": currency, "jobs_without_price": unpriced}
    assert wording.why_no_cost(row) == why
