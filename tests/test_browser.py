"""Report and notebooks as a reader meets them, in Debian's Chromium."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from reports.tables import account, base_tables, hostile, insert

from pipelines.report import write_report
from pipelines.reports import create_views

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ROOT = Path(__file__).parent.parent
NOW = datetime.now(UTC)
PATIENCE = 60_000  # milliseconds, for a machine that is busy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def warehouse(isolated: Path) -> Path:
    path = isolated / "data" / "warehouse.duckdb"
    path.parent.mkdir()
    with base_tables(str(path)) as connection:
        account(connection)
        create_views(connection, "UTC")
    return path


@contextmanager
def served(name: str, project: Path) -> Iterator[str]:
    """Serve a notebook as `make notebooks` does; yield its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "run", "--headless", "--no-token", "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--port", str(port), str(ROOT / "notebooks" / f"{name}.py")],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MARIMO_SKIP_UPDATE_CHECK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout
        assert any("URL:" in line for line in server.stdout)  # printed when it listens; ends when the server does
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.communicate(timeout=30)


@contextmanager
def opened(browser: Browser, address: str, width: int, scheme: str) -> Iterator[Page]:
    """Open a page that reaches nothing but its own address; anything it asks of another one, or any fault, fails."""
    context = browser.new_context(
        viewport={"width": width, "height": 2400},
        color_scheme=scheme,
        timezone_id="Pacific/Honolulu",
        bypass_csp=True,  # for axe; what a page asks for is held against its address below
    )
    faults: list[str] = []

    def route(request: Route) -> None:
        if request.request.url.startswith((address, "data:", "blob:")):
            request.continue_()
        else:
            faults.append(f"asks for {request.request.url}")
            request.abort()

    context.route("**/*", route)
    page = context.new_page()
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(address, timeout=PATIENCE)
    yield page
    context.close()
    assert faults == []


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("fill", [account, hostile], ids=["tame", "hostile"])
def test_the_report_opens_from_disk_without_network(
    browser: Browser, tmp_path: Path, width: int, scheme: str, fill: object
) -> None:
    target = tmp_path / "report.html"
    with base_tables() as connection:
        fill(connection)  # type: ignore[operator]
        insert(connection, "prices", [{"valid_from": "2020-01-01", "price_per_credit": "1.2345", "currency": "USD"}])
        create_views(connection, "UTC")
        headline = write_report(connection, target, (NOW - timedelta(days=29)).date(), NOW.date(), "UTC", NOW)
    with opened(browser, target.as_uri(), width, scheme) as page:
        page.context.set_offline(True)
        page.reload()
        assert page.title().startswith("Apiframe, ")  # hostile text has not taken it
        assert page.get_by_role("definition").filter(has_text=f"{headline['credits']:,.0f}").first.is_visible()
        assert overflow(page) == 0
        assert page.get_by_role("img", name="Failure rate by model").count() == 1  # wide or narrow, not both
        assert page.evaluate(CUT_OFF) == []
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
        assert dark == (scheme == "dark")
        page.screenshot(path=tmp_path / "report.png", full_page=True)
        page.emulate_media(media="print")
        assert page.get_by_role("img", name="Failure rate by model").count() == 1


# Text of a chart that reaches beyond the page.
CUT_OFF = """() => [...document.querySelectorAll('svg text')]
  .map(text => [text.textContent, text.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.left < 0 || box.right > document.documentElement.clientWidth))
  .map(([words]) => words)"""


@pytest.mark.parametrize(("name", "figure"), [("credit_spend", "Jobs created"), ("failure_rates", "Finished jobs")])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
def test_a_moved_filter_changes_the_figures(
    browser: Browser, warehouse: Path, tmp_path: Path, name: str, figure: str, width: int, scheme: str
) -> None:
    with served(name, warehouse.parent.parent) as address, opened(browser, address, width, scheme) as page:
        page.set_default_timeout(PATIENCE)
        # The reading under the first figure: "1,234 credits, ..." or "10.0 % of the 1,234 jobs that ended ...".
        reading = page.locator("p").filter(has_text=re.compile(r"^[\d,.]+\s(credits, |% of the )"))
        before = reading.inner_text()
        chart = page.locator("marimo-vega, .vega-embed").first
        chart.wait_for()
        page.screenshot(path=tmp_path / f"{name}-before.png")
        page.get_by_text("Select...").click()
        page.get_by_role("option", name="model-3").click()
        expect(reading).not_to_have_text(before, timeout=PATIENCE)
        assert page.get_by_role("term").filter(has_text=figure).first.is_visible()
        assert overflow(page) == 0
        page.screenshot(path=tmp_path / f"{name}-after.png")


@pytest.mark.parametrize("name", ["credit_spend", "failure_rates"])
def test_hostile_text_stays_text_in_a_notebook(browser: Browser, isolated: Path, name: str) -> None:
    path = isolated / "data" / "warehouse.duckdb"
    path.parent.mkdir()
    with base_tables(str(path)) as connection:
        hostile(connection)
        create_views(connection, "UTC")
    with served(name, isolated) as address, opened(browser, address, 1280, "light") as page:
        page.set_default_timeout(PATIENCE)
        page.locator("marimo-table").get_by_text("<img src=x").first.wait_for()
        page.get_by_text("Select...").click()
        page.get_by_role("option").first.wait_for()
        assert page.title() != "taken"


#: What axe finds in a notebook and is marimo's, for whose front end there is no setting: rule, where, and why.
OF_MARIMO = (
    ("region", "", "the frame of an app has no main landmark"),
    ("button-name", "radix-", "the menu of the app in its corner"),
    (
        "color-contrast",
        "marimo-table",
        "the colours of its tables and their tools are those of its theme",
    ),
    ("summary-name", "<summary>", "the menu beside a chart, by which it is saved as a file"),
)


@pytest.fixture(scope="module")
def axe() -> str:
    """Deque's axe-core, as `make test-browser` installs it where there is npm."""
    script = ROOT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("NO AXE-CORE HERE: what axe says of report and notebooks is not tested (make test-browser, npm)")
    return script.read_text()


def found_by(axe: str, page: Page) -> list[tuple[str, str]]:
    """What axe finds: the rule that is broken, and the element."""
    page.evaluate(axe)
    broken = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [(rule["id"], f"{node['target']} {node['html']}") for rule in broken for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("fill", [account, hostile], ids=["tame", "hostile"])
def test_axe_finds_nothing_in_the_report(
    browser: Browser, axe: str, tmp_path: Path, width: int, scheme: str, fill: object
) -> None:
    target = tmp_path / "report.html"
    with base_tables() as connection:
        fill(connection)  # type: ignore[operator]
        create_views(connection, "UTC")
        write_report(connection, target, (NOW - timedelta(days=29)).date(), NOW.date(), "UTC", NOW)
    with opened(browser, target.as_uri(), width, scheme) as page:
        assert found_by(axe, page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["credit_spend", "failure_rates"])
def test_axe_finds_nothing_of_ours_in_a_notebook(
    browser: Browser, axe: str, warehouse: Path, name: str, scheme: str
) -> None:
    with served(name, warehouse.parent.parent) as address, opened(browser, address, 1280, scheme) as page:
        page.set_default_timeout(PATIENCE)
        page.locator("canvas").first.wait_for()
        ours = [
            (rule, element)
            for rule, element in found_by(axe, page)
            if not any(rule == known and where in element for known, where, _ in OF_MARIMO)
        ]
        assert ours == []


def test_in_the_dark_a_chart_lies_on_the_page_itself(browser: Browser, warehouse: Path) -> None:
    with served("credit_spend", warehouse.parent.parent) as address, opened(browser, address, 1280, "dark") as page:
        page.set_default_timeout(PATIENCE)
        canvas = page.locator("canvas").first
        canvas.wait_for()
        corner = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data]"
        assert canvas.evaluate(corner) == [0, 0, 0, 0], "transparent"


def test_a_view_can_be_sent_and_is_printed_whole(browser: Browser, warehouse: Path, tmp_path: Path) -> None:
    with served("credit_spend", warehouse.parent.parent) as address:
        with opened(browser, address, 1280, "light") as page:
            page.set_default_timeout(PATIENCE)
            page.get_by_text("Counting").or_(page.get_by_text("jobs, newest first")).first.wait_for()  # it is coming
            page.get_by_text("jobs, newest first").wait_for()
            page.get_by_text("Select...").click()
            page.get_by_role("option", name="model-3").click()
            page.get_by_label("First the").select_option("dearest")
            page.get_by_text("jobs, dearest first").wait_for()
            assert re.search(r"[?&]model=model-3(&|$)", page.url)
            assert "first=dearest" in page.url
            link, reading = page.url, page.get_by_text("model-3 took 100.0 %").inner_text()
        with opened(browser, address, 1280, "dark") as page:
            page.set_default_timeout(PATIENCE)
            page.goto(link, timeout=PATIENCE)
            page.get_by_text("jobs, dearest first").wait_for()
            assert page.get_by_text("model-3 took 100.0 %").inner_text() == reading
            dates = page.get_by_role("group").first.inner_text()
            assert re.match(r"\d{4}-\d{2}-\d{2}", re.sub(r"\s", "", dates)), dates
            assert page.locator("table.whole").last.is_hidden()
            page.emulate_media(media="print")
            assert page.locator("table.whole").last.is_visible()
            assert page.locator("table.whole").last.locator("tr").count() == 201
            assert page.locator("marimo-table").first.is_hidden()
            page.screenshot(path=tmp_path / "printed.png", full_page=True)


def test_without_a_warehouse_the_page_says_what_to_run(browser: Browser, isolated: Path) -> None:
    with served("credit_spend", isolated) as address, opened(browser, address, 375, "light") as page:
        page.set_default_timeout(PATIENCE)
        page.get_by_text("for your own").wait_for()
