"""Colours: a model keeps its own, and every eye can tell them apart on every page."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import marimo
import numpy as np
import pandas as pd
import pytest
from reports.tables import base_tables, insert

from pipelines import charts
from pipelines.pages import Asked
from pipelines.palette import BLUE, COLOURS, GREY, RED, colours
from pipelines.reports import create_views, queries
from pipelines.reports.queries import Period

NOW = datetime(2024, 4, 16, 12, tzinfo=UTC)
#: What is seen of linear sRGB: Machado, Oliveira, Fernandes 2009 (severity 1), Viénot, Brettel, Mollon 1999.
EYES = {
    "any": np.eye(3),
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "deutan (Viénot)": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "protan (Viénot)": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
}
#: Pages on which charts are drawn: those of report.html and of marimo, in both schemes.
BACKGROUNDS = {"white": "#ffffff", "report, dark": "#14181d", "notebook, dark": "#181c1a"}


def linear(colour: str) -> Any:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(colour: str, eye: str) -> Any:
    seen = np.clip(np.array(EYES[eye]) @ linear(colour), 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ seen / (0.95047, 1, 1.08883)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(one: Any, other: Any) -> float:
    """Return how far apart two colours of CIELAB are (Sharma, Wu, Dalal 2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    seven = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    a1, a2 = (a * (1 + 0.5 * (1 - np.sqrt(seven / (seven + 25**7)))) for a in (a1, a2))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    hue = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = 1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    weight += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.2 * np.cos(np.radians(4 * hue - 63))
    bright = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2))
    strong = (c2 - c1) / (1 + 0.045 * chroma)
    turned = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * weight)
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    rotation *= np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return float(np.sqrt(bright**2 + strong**2 + turned**2 + rotation * strong * turned))


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(linear(each) @ (0.2126, 0.7152, 0.0722)) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
        ((50, 0, 0), (50, -1, 2), 2.3669),
    ],
)
def test_the_distance_is_that_of_the_published_examples(one: Any, other: Any, expected: float) -> None:
    assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_any_two_colours_apart(eye: str) -> None:
    near = min(ciede2000(lab(one, eye), lab(other, eye)) for one, other in combinations((*COLOURS, GREY), 2))
    assert near >= 11


@pytest.mark.parametrize("background", BACKGROUNDS.values(), ids=BACKGROUNDS)
def test_every_colour_stands_out_from_the_page(background: str) -> None:
    assert min(contrast(colour, background) for colour in (*COLOURS, GREY, BLUE, RED)) >= 3


def test_these_are_the_pages() -> None:
    assert "--bg: #14181d" in (Path(charts.__file__).parent / "report.html").read_text()
    styles = "".join(file.read_text() for file in Path(marimo.__file__).parent.glob("_static/assets/index-*.css"))
    assert "#181c1a" in styles


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        create_views(connection, "UTC")
        yield connection


@pytest.fixture
def add(warehouse: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    def jobs(model: str | None, hours: float, count: int = 1) -> None:
        row = {"status": "COMPLETED", "model": model, "created_at": NOW - timedelta(hours=hours), "credit_cost": 1}
        insert(warehouse, "jobs", [{"id": f"{model} {hours} {place}", **row} for place in range(count)])

    return jobs


def asked(connection: duckdb.DuckDBPyConnection, days: int = 30, models: tuple[str, ...] | None = None) -> Asked:
    known = queries.extent(connection)
    assert known
    return Asked(Period((NOW - timedelta(days=days - 1)).date(), NOW.date(), "UTC", models), "day", NOW, known)


def test_a_model_keeps_its_colour_when_others_come_or_are_left_out(
    warehouse: duckdb.DuckDBPyConnection, add: Callable[..., None]
) -> None:
    for place, model in enumerate(["c", None, "a"]):
        add(model, 100 - place)
    first = asked(warehouse).colours(["c", None, "a"])
    assert first == list(COLOURS[:3])
    add("b", 10, count=50)
    add("a", 5, count=90)
    for again in (asked(warehouse), asked(warehouse, days=1), asked(warehouse, models=("a",))):
        assert again.colours(["c", float("nan"), "a", "b", "unheard of"]) == [*first, COLOURS[3], GREY]


def drawn(given: Asked, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    data = given.summary(connection, "day", "model")
    scale = charts.stacked(data, "day", "credits", given.colours(data["model"]), 900).to_dict()["encoding"]["color"]
    return dict(zip(scale["scale"]["domain"], scale["scale"]["range"], strict=True))


def test_of_two_models_with_one_colour_the_smaller_is_among_the_others(
    warehouse: duckdb.DuckDBPyConnection, add: Callable[..., None]
) -> None:
    for place in range(len(COLOURS) + 1):
        add(f"m{place}", 500 - place, count=2 if place in (0, len(COLOURS)) else 3)
    for place in range(len(COLOURS) + 1):
        add(f"m{place}", 1, count=20 - place)
    found = drawn(asked(warehouse, days=2), warehouse)
    assert f"m{len(COLOURS)}" not in found
    assert found.pop(charts.OTHERS) == GREY
    assert found == {f"m{place}": COLOURS[place] for place in range(charts.MOST_STACKED)}
    assert colours(range(12))[10] == COLOURS[0]


def test_names_that_every_object_of_the_browser_has_can_be_drawn() -> None:
    for name in charts.OF_EVERY_OBJECT:
        data = pd.DataFrame({"model": [name, "a"], "day": [NOW.date()] * 2, "credits": [1, 2]})
        assert charts.picture(charts.stacked(data, "day", "credits", list(COLOURS[:2]), 900), "x")
        data = data.drop(columns="day")
        assert charts.picture(charts.bars(data, "model", "credits", "credits", [], 340), "x")
