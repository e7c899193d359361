"""What a person reads of a result: nothing cut to pieces, nothing that does harm; programs get every digit."""

from decimal import Decimal

import pytest

from pipelines.rendering import Result, outline, render

ROW = ("2026-11-28", "flux-2-pro-ultra-with-a-long-name", 0.0758293847, Decimal("1234.5600"), None)
WIDE = Result(["day", "model", "failure_rate", "credits", "modality"], [ROW, ROW])


def test_a_table_shortens_texts_alone_and_rounds_floats() -> None:
    assert render(WIDE, "table", 66).splitlines()[2] == "2026-11-28  flux-2-pro-ultra-w…       0.07583  1234.5600"
    assert render(WIDE, "table", 200).splitlines()[2].split()[1] == ROW[1]


def test_where_a_terminal_is_too_narrow_each_row_lies_on_its_side() -> None:
    assert render(WIDE, "table", 40).split("\n")[:7] == [
        "-- 1 ------------",
        "day           2026-11-28",
        "model         flux-2-pro-ultra-with-a-long-name",
        "failure_rate  0.07583",
        "credits       1234.5600",
        "modality",
        "-- 2 ------------",
    ]
    many = Result(["id", "error"], [("x" * 50, "y" * 50)] * 300)
    assert render(many, "table", 20).split("\n")[-1] == "… 100 more rows (--format csv has all 300)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (119.58734, "119.6"),
        (1234567.8, "1234568"),
        (-0.5, "-0.5"),
        (0.0, "0"),
        (2.0, "2"),
        (3.25e-9, "3.25e-09"),
        (1e300, "1e+300"),
        (float("nan"), "nan"),
        (Decimal("0.00010000"), "0.00010000"),
    ],
)
def test_a_number_is_as_long_as_a_person_reads_it_in_a_table_alone(value: object, text: str) -> None:
    result = Result(["x"], [(value,)])
    assert render(result, "table").splitlines()[2].strip() == text
    assert render(result, "csv").splitlines()[1] == str(value)


def test_floats_of_a_column_have_as_many_places() -> None:
    result = Result(["x"], [(8.0,), (7.25,), (None,), (0.0,)])
    assert render(result, "table").splitlines()[2:] == ["8.00", "7.25", "", "0.00"]


def test_a_spreadsheet_can_be_kept_from_taking_texts_for_formulas() -> None:
    result = Result(["=a", "n"], [("=1+1", -5), ("@x", Decimal("-1.5")), ("plain", None)])
    assert render(result, "csv", csv_safe=True) == "'=a,n\n'=1+1,-5\n'@x,-1.5\nplain,"
    assert render(result, "csv") == "=a,n\n=1+1,-5\n@x,-1.5\nplain,"


def test_an_outline_is_wrapped_below_each_name() -> None:
    described = Result(
        ["name", "column", "meaning"], [("reports.x", None, "One row."), ("reports.x", "day", "the day")]
    )
    assert outline(described, 14) == "reports.x\nOne row.\n  day: the day"
    assert outline(described, 12) == "reports.x\nOne row.\n  day: the\n    day"
