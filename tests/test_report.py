"""The report: right, whole, harmless, small."""

import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest
from reports.tables import account, base_tables, hostile, insert

from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.report import write_report
from pipelines.reports import create_views
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync

NOW = datetime.now(UTC)
TODAY = NOW.date()
RECENT = f"day between date '{TODAY - timedelta(days=29)}' and date '{TODAY}'"


class Page(HTMLParser):
    """Elements and text of a page, to see what is markup and what is not."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with base_tables() as connection:
        account(connection)
        create_views(connection, "UTC")
        yield connection


def write(connection: duckdb.DuckDBPyConnection, target: Path, days: int = 30) -> dict[str, Any]:
    return write_report(connection, target, TODAY - timedelta(days=days - 1), TODAY, "UTC", NOW)


def test_headline_figures_are_those_of_the_views(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    headline = write(warehouse, tmp_path / "report.html")
    [(jobs, spent, pending, assets)] = warehouse.execute(
        "select cast(sum(jobs) as integer), sum(credits), sum(credits_pending), cast(sum(assets) as integer) "
        f"from reports.daily_spend where {RECENT}"
    ).fetchall()
    [(failed, finished)] = warehouse.execute(
        "select cast(sum(failed) as integer), cast(sum(finished) as integer) "
        f"from reports.daily_reliability where {RECENT}"
    ).fetchall()
    expected = {"jobs": jobs, "credits": spent, "credits_pending": pending, "assets": assets, "failed": failed}
    assert {name: headline[name] for name in expected} == expected
    assert headline["failure_rate"] == pytest.approx(failed / (failed + finished))
    page = Page((tmp_path / "report.html").read_text())
    assert f"Credits spent {spent:,.0f}" in page.text
    assert f"{failed:,} of {failed + finished:,} ended" in page.text


def test_the_page_needs_nothing_from_outside_and_no_script(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write(warehouse, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    elements = Page(page).elements
    assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert not [given for _, given in elements if {"src", "onload"} & set(given)]
    assert all((given["href"] or "").startswith("#") for _, given in elements if "href" in given)
    assert not re.search(r"@import|url\((?!#)", page)


def test_every_chart_has_a_text_alternative_and_ids_of_its_own(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write(warehouse, tmp_path / "report.html")
    elements = Page((tmp_path / "report.html").read_text()).elements
    ids = [given["id"] for _, given in elements if "id" in given]
    pictures = [given for tag, given in elements if tag == "svg" and given.get("role") == "img"]
    assert len(ids) == len(set(ids))
    assert len(pictures) >= 10  # five charts or more
    assert len(pictures) % 2 == 0, "wide and narrow"
    assert all(set((given["aria-labelledby"] or "").split()) <= set(ids) for given in pictures)


def test_the_contents_lead_to_every_part(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    write(warehouse, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    elements = Page(text).elements
    links = [given["href"] for tag, given in elements if tag == "a"]
    headings = [f"#{given['id']}" for tag, given in elements if tag == "h2"]
    assert links == headings
    assert len(links) >= 8
    assert len(re.findall("<h2", text)) == len(headings), "none stands alone, none twice"


def test_figures_and_units_stay_on_one_line_and_names_are_not_broken(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write(warehouse, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert not re.search(
        r"\d (%|s|min|h|d|USD)\b", re.sub(r"<style>.*</style>|<svg.*?</svg>", "", text, flags=re.DOTALL)
    )
    assert "95\u00a0% within" in text
    assert '<td class="w">model-3</td>' in text


def test_text_of_a_chart_is_legible_on_a_page_of_700_pixels(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write(warehouse, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    for size, width, shown in (("wide", 900, 700 - 32), ("narrow", 340, 340)):
        drawn = "".join(re.findall(rf'<div class="{size}">.*?</div>', text, re.DOTALL))
        sizes = [float(found) for found in re.findall(r'font-size="([\d.]+)px"', drawn)]
        assert min(sizes) * shown / width >= 11, size


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    with base_tables() as connection:
        hostile(connection)
        create_views(connection, "UTC")
        write(connection, tmp_path / "report.html", 20)
    page = Page((tmp_path / "report.html").read_text())
    assert not {tag for tag, _ in page.elements} & {"script", "img", "b"}
    assert "<img src=x" in page.text
    assert "\x1b" not in page.text
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_names_that_vega_would_cut_in_two_or_that_look_alike_are_shown_apart(tmp_path: Path) -> None:
    with base_tables() as connection:
        for place, model in enumerate(["🎨" * 30, None, ""]):
            job = {"id": str(place), "status": "FAILED", "model": model, "created_at": NOW.isoformat()}
            insert(connection, "jobs", [job])
        create_views(connection, "UTC")
        write(connection, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count(">(none) (2)</td>") == 3  # of spend, of outcomes, of failures


@pytest.mark.parametrize("days", [120, 360])  # as many bars as there are, a week each
def test_many_models_and_a_year_stay_below_a_megabyte(tmp_path: Path, days: int) -> None:
    with base_tables() as connection:
        account(connection, 20_000, days)
        connection.execute("update apiframe.jobs set model = id where hash(id) % 2 = 0")
        connection.execute("update apiframe.jobs set model = 'model-' || hash(id) % 12 where hash(id) % 2 = 1")
        create_views(connection, "UTC")
        headline = write(connection, tmp_path / "report.html", days)
    assert headline["jobs"] > 19_000
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_fractions_unknown_costs_and_stuck_jobs_are_shown(tmp_path: Path) -> None:
    with base_tables() as connection:
        common = {"status": "COMPLETED", "model": "m", "created_at": NOW.isoformat()}
        insert(
            connection,
            "jobs",
            [
                {**common, "id": "1", "credit_cost": 10.25, "asset_count": 2},
                {**common, "id": "2"},
                {**common, "id": "stuck-one", "status": "PROCESSING", "created_at": "2024-01-01T00:00:00Z"},
            ],
        )
        create_views(connection, "UTC")
        headline = write(connection, tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text()).text
    assert (headline["credits"], headline["jobs_cost_unknown"]) == (10.25, 1)
    assert headline["failure_rate"] == 0
    assert "Credits spent 10.25" in text
    assert "The cost of 1 of 2 jobs is unknown" in text
    assert "stuck-one" in text
    assert "No sync has ended well yet" in text
    assert "No job failed in this period" in text


def test_credits_are_shown_to_the_last_digit(tmp_path: Path) -> None:
    with base_tables() as connection:
        for place in range(3):
            job = {"id": str(place), "status": "COMPLETED", "model": "m", "created_at": NOW.isoformat()}
            insert(connection, "jobs", [{**job, "credit_cost": Decimal("10000000000000.0001")}])
        create_views(connection, "UTC")
        headline = write(connection, tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text()).text
    assert str(headline["credits"]) == "30000000000000.0003"
    assert text.count("30,000,000,000,000.0003") >= 4  # headline, sentence, table


def test_the_same_warehouse_gives_the_same_bytes(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    write(warehouse, tmp_path / "one.html")
    write(warehouse, tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_period_is_compared_only_with_one_that_history_covers(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    write(warehouse, tmp_path / "report.html", 20)
    assert "% on the 20 days before" in (tmp_path / "report.html").read_text()
    write(warehouse, tmp_path / "report.html", 40)
    assert "history does not cover the 40 days before" in (tmp_path / "report.html").read_text()


def test_at_a_quarter_past_ten_an_account_whose_days_are_alike_has_spent_as_much_as_the_day_before(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    now = (NOW - timedelta(days=1)).replace(hour=10, minute=21, second=0, microsecond=0)
    with Sandbox(jobs=0, now=now) as api:
        for hour in range(96, 0, -1):
            api.add(5, created_at=now - timedelta(hours=hour - 0.5), status="COMPLETED", creditCost=3)
        chosen = settings_for(api)
        sync(chosen)
    for hours, against in ((10, "the day before, "), (34, "the 2 days before, the last ")):
        first = (now - timedelta(hours=hours)).date()
        with connect(chosen) as connection:
            write_report(connection, tmp_path / "report.html", first, now.date(), "UTC", now + timedelta(hours=5))
        page = Page((tmp_path / "report.html").read_text()).text
        assert f"Credits spent {15 * hours} +0.0 % on {against}up to 10:21" in page
        assert f"Of {now.date()} only what came up to 10:21 is known: its bar is pale." in page


def test_a_period_before_without_a_finished_job_has_no_mean_to_compare_with(tmp_path: Path) -> None:
    with base_tables() as connection:
        for day, status in ((0, "COMPLETED"), (1, "CANCELLED"), (2, "FAILED")):
            job = {"id": str(day), "status": status, "credit_cost": 5, "created_at": NOW - timedelta(days=day)}
            insert(connection, "jobs", [job])
        create_views(connection, "UTC")
        write(connection, tmp_path / "report.html", 1)
        before = Page((tmp_path / "report.html").read_text()).text
        write_report(
            connection, tmp_path / "report.html", TODAY - timedelta(days=1), TODAY - timedelta(days=1), "UTC", NOW
        )
    assert "Credits per finished job 5.00 none in the day before" in before
    assert "nan" not in before + Page((tmp_path / "report.html").read_text()).text


def test_misdated_jobs_and_the_first_day_of_all_do_not_stop_the_report(tmp_path: Path) -> None:
    with base_tables() as connection:
        for created_at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", NOW.isoformat()):
            insert(connection, "jobs", [{"id": created_at, "status": "QUEUED", "created_at": created_at}])
        for zone in ("America/New_York", "Asia/Tokyo"):
            create_views(connection, zone)
            for first in (date(1, 1, 1), TODAY - timedelta(days=1)):
                write_report(connection, tmp_path / "report.html", first, TODAY + timedelta(days=1), zone, NOW)
    assert "0001-01-01T00:00:00Z" in (tmp_path / "report.html").read_text()


def test_each_of_few_days_is_labelled_once(tmp_path: Path) -> None:
    with base_tables() as connection:
        insert(connection, "jobs", [{"id": "1", "status": "FAILED", "created_at": NOW.isoformat()}])
        create_views(connection, "UTC")
        write(connection, tmp_path / "report.html", 1)
    page = Page((tmp_path / "report.html").read_text())
    assert page.text.count(f"{TODAY.day} {TODAY:%b}") == 4  # two charts, wide and narrow
    assert "1 day, counted in UTC" in page.text


def test_nothing_to_report_is_said_in_a_line(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    with duckdb.connect() as bare, pytest.raises(ApiframeWarehouseError, match="no views"):
        write(bare, target)
    with base_tables() as connection:
        create_views(connection, "UTC")
        with pytest.raises(ApiframeWarehouseError, match="holds no jobs"):
            write(connection, target)
        account(connection)
        [(newest,)] = connection.execute("select max(day) from reports.jobs").fetchall()
        with pytest.raises(ApiframeWarehouseError, match=f"2001-01-02, the newest one on {newest}"):
            write_report(connection, target, date(2001, 1, 1), date(2001, 1, 2), "UTC", NOW)
        with pytest.raises(ConfigurationError, match="before it begins"):
            write_report(connection, target, date(2001, 1, 2), date(2001, 1, 1), "UTC", NOW)
        connection.execute("create or replace view reports.jobs as select 1 as of_another_version")
        with pytest.raises(ApiframeWarehouseError, match="another version"):
            write(connection, target)
    assert not target.exists()


def test_the_file_is_private_and_whole_or_not_there(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new" / "report.html"
    write(warehouse, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(ApiframeWarehouseError, match="No space left"):
            write(warehouse, target)
    assert target.read_bytes() == before
    assert [file.name for file in target.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ApiframeWarehouseError, match="cannot write"):
        write(warehouse, tmp_path / "file" / "report.html")
