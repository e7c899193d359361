"""What a report is of: the jobs of one scope where two are held, and those with a label. Parts add up to the whole."""

import contextlib
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from label_worlds import World, filled

from pipelines import pages, report, status
from pipelines.errors import ApiframeWarehouseError, ConfigurationError
from pipelines.pages import Asked
from pipelines.reports import queries
from pipelines.reports.queries import Period
from pipelines.sandbox import Sandbox
from pipelines.settings import Settings
from pipelines.stores import connect
from pipelines.sync import sync
from pipelines.warehouse import Warehouse

Make = Callable[..., Settings]
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAYS = (NOON.date() - timedelta(days=9), NOON.date(), "UTC", NOON)


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """An account with two jobs of its own, for 5 credits, and one of a colleague's, for 64."""
    with Sandbox(jobs=0, now=NOON) as api:
        for cost, status_, colleague in ((2, "COMPLETED", False), (3, "FAILED", False), (64, "COMPLETED", True)):
            api.add(1, status=status_, model="m", creditCost=cost, colleague=colleague)
        api.advance(timedelta(hours=2))
        yield api


@pytest.fixture
def both(api: Sandbox, settings_for: Make) -> Settings:
    """A warehouse that holds the team's jobs, and knows which of them are the user's own."""
    sync(settings_for(api, scope="team"))
    own = settings_for(api)
    sync(own)
    return own


def made(chosen: Settings, scope: str | None = None, labels: Any = ()) -> tuple[str, dict[str, Any]]:
    with contextlib.closing(connect(chosen)) as connection:
        page, headline = report.made(connection, *DAYS, scope=scope, labels=labels)
    return page.replace("\u00a0", " "), headline


def shown(chosen: Settings, asked: str | None = None) -> str | None:
    with contextlib.closing(connect(chosen)) as connection:
        return queries.scope_shown(Warehouse.over(connection).scopes(), asked, chosen.scope)


# Scopes


@pytest.mark.everywhere
def test_of_two_scopes_the_configured_one_is_shown_and_the_other_may_be_asked_for(both: Settings) -> None:
    assert shown(both) == "user"
    page, own = made(both, shown(both))
    assert (own["jobs"], own["credits"], own["failed"], own["scope"]) == (2, 5, 1, "user")
    read = r"last read 2026-03-10 14:\d\d UTC"
    assert re.search(rf"<p>Your own jobs \(scope user\), {read}; those of the team are held too\.", page)
    page, team = made(both, shown(both, "team"))
    assert (team["jobs"], team["credits"], team["scope"]) == (3, 69, "team")
    assert re.search(rf"<p>The team&#39;s jobs, your own among them \(scope team\), {read}\.", page)


@pytest.mark.everywhere
def test_status_counts_the_jobs_of_one_scope_and_says_of_which(both: Settings) -> None:
    now = int(NOON.timestamp() * 1e6)
    own, team = status.facts(both, now), status.facts(both, now, "team")
    assert (own["scope"], own["scopes"], own["jobs"]) == ("user", ["user", "team"], 2)
    assert own["jobs_by_status"] == {"COMPLETED": 1, "FAILED": 1}
    assert own["spent_this_month"]["credits"] == 5
    assert (team["scope"], team["jobs"], team["spent_this_month"]["credits"]) == ("team", 3, 69)


@pytest.mark.parametrize("held", ["user", "team"])
def test_where_one_scope_is_held_nothing_is_said_and_nothing_left_out(
    api: Sandbox, settings_for: Make, held: str
) -> None:
    chosen = settings_for(api, scope=held)
    sync(chosen)
    assert shown(chosen) is None
    assert shown(settings_for(api, scope="user" if held == "team" else "team")) is None, "configured, not synced yet"
    page, found = made(chosen, shown(chosen, held))
    assert found["jobs"] == (2 if held == "user" else 3)
    assert "(scope" not in page
    assert status.facts(chosen, int(NOON.timestamp() * 1e6))["scope"] == held
    with pytest.raises(ConfigurationError, match=f"those of scope {held} alone"):
        shown(chosen, "user" if held == "team" else "team")


# Labels


@pytest.fixture
def labelled(api: Sandbox, settings_for: Make) -> Settings:
    """Jobs of three customers, one of them none, in two projects."""
    chosen = settings_for(api)
    lines = ["job_id,label,value"]
    for cost, customer, project in (
        (1, "acme", "films"),
        (10, "acme", ""),
        (100, "it's $1 %s ?", "films"),
        (1000, "", ""),
    ):
        [job] = api.add(1, status="COMPLETED", model=f"m{cost}", creditCost=cost)
        lines += [f"{job},{name},{value}" for name, value in (("customer", customer), ("project", project)) if value]
    folder = chosen.project / ".dlt"
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("\n".join(lines))
    sync(chosen)
    return chosen


def credits_of(chosen: Settings, *asked: str) -> Decimal:
    with contextlib.closing(connect(chosen)) as connection:
        labels = queries.labels_asked(connection, asked)
        return Decimal(report.made(connection, *DAYS, labels=labels)[1]["credits"])


@pytest.mark.everywhere
def test_a_report_of_labels_holds_the_jobs_that_have_all_of_them(labelled: Settings) -> None:
    assert credits_of(labelled) == 1116
    assert credits_of(labelled, "customer=acme") == 11
    assert credits_of(labelled, "customer=acme", "project=films") == 1
    assert credits_of(labelled, "customer=acme", "customer=it's $1 %s ?") == 111, "of values of one label any"
    assert credits_of(labelled, " customer = ") == 1005, "those without"
    with pytest.raises(ApiframeWarehouseError, match="no job has this value of customer"):
        credits_of(labelled, "customer=nobody")
    for wrong, told in (
        ("customer", "must be like"),
        ("=acme", "no label ''"),
        ("client=x", "there are customer, project"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            credits_of(labelled, wrong)


def test_every_section_is_of_these_jobs_alone(labelled: Settings) -> None:
    """No name and no figure of another customer is on a page that is meant for one."""
    page, _ = made(labelled, labels=(("customer", ("acme",)),))
    assert "<p>Only jobs with customer = acme. 10 days" in page
    assert ">m1<" in page
    assert ">m10<" in page
    for foreign in ("m100", "m1000", "1,116", "1,005", "Credits left", "balance"):
        assert foreign not in page.replace("account's balance", "")


def test_an_account_without_labels_sees_nothing_of_them(both: Settings) -> None:
    page, _ = made(both)
    assert "label" not in re.sub("<[^>]*>", "", page.partition("</style>")[2]).lower()
    with pytest.raises(ConfigurationError, match="no job has a label"):
        credits_of(both, "customer=acme")


def test_what_has_a_label_and_the_rest_are_the_whole_in_every_section() -> None:
    draw = random.SystemRandom()
    world = next(world for world in iter(lambda: World.drawn(draw.randrange(10**6)), None) if len(world.jobs) > 5)
    with filled(world) as connection:
        known = queries.extent(connection)
        assert known
        scope = draw.choice(["user", "team"])
        period = Period(known.oldest, known.newest, world.timezone, scope=scope)
        whole = figures(connection, period, known)
        assert whole[0] == sum(job["scope"] in (scope, "user") for job in world.jobs), world
        for name, values in queries.label_values(connection).items():
            one, rest = (
                figures(connection, with_label(period, name, *some), known) for some in (values[:1], values[1:])
            )
            assert [sum(pair) for pair in zip(one, rest, strict=True)] == [*whole], f"{world}: {scope} {name}"


def with_label(period: Period, name: str, *values: str) -> Period:
    return Period(period.first, period.last, period.timezone, scope=period.scope, labels=((name, values),))


def figures(connection: Any, period: Period, known: Any) -> tuple[Any, ...]:
    """Jobs and credits as the summary has them, and as the sections that ask for themselves."""
    asked = Asked(period, "month", NOON, known)
    total = asked.summary(connection).iloc[0]
    found = {section.name: section.data for section in pages.answers("report", connection, asked)}
    labels = found["spend_by_label"]
    spent = labels[labels["label"] == labels["label"].iloc[0]]["credits"] if len(labels) else []
    return (
        int(total["jobs"]),
        total["credits"] if total["credits"] is not None else Decimal(0),
        sum((cost for cost in spent if cost is not None and cost == cost), Decimal(0)),
        int(found["failure_reasons"]["jobs"].sum()),
        int(found["turnaround"]["jobs"].sum()),
        len(found["stuck_jobs"]),
    )
