"""`digest`: some whole days in at most fifteen lines, for a message a day or a week.

`gather` asks the warehouse, `lines` says what came of it and decides from figures alone. Every line is one line of
plain text; names that the API gave are labelled.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from pipelines.alarms import Message
from pipelines.checks import Finding, run_checks
from pipelines.comparison import Comparison, compared, earlier
from pipelines.exact import moment, one_line
from pipelines.pages import Asked
from pipelines.pages.failure_rate_over_time import FailureRateOverTime
from pipelines.pages.failure_rates import FailureRates
from pipelines.pages.month import RunningMonth
from pipelines.report import write_report
from pipelines.reports import queries
from pipelines.reports.queries import Period
from pipelines.reports.spending import runway
from pipelines.runway import Runway, sentence
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from pipelines.wording import age, counted, exact, label, missing, money, number, why_no_cost
from pipelines.zones import local

MOST_MODELS = 3
MOST_FINDINGS = 3
LONGEST = 300  # characters of a line


class Mover(NamedTuple):
    """What was spent on a model, and before; None of both where there is nothing to hold it against."""

    model: str
    credits: Decimal
    before: Decimal | None


class Due(NamedTuple):
    """Refunds that have not come, whenever the jobs were created."""

    jobs: int
    credits: Decimal
    oldest_s: float


@dataclass(frozen=True)
class Jobs:
    """What is known of the jobs of the days: of all up to `until`, on the clocks of their zone.

    `shown` says which count, where these are not all that there are.
    """

    shown: list[str]
    until: datetime
    totals: Comparison
    movers: list[Mover]  # those that changed most, or cost most where there is nothing to hold them against
    costs_unknown: bool  # of jobs of these days, or of those before
    failures: list[str]  # sentences
    month: str  # how the running one will end, as far as that can be told


@dataclass(frozen=True)
class Digest:
    """Everything that a digest tells."""

    warehouse: str
    host: str
    period: Period
    jobs: Jobs | None  # None where the warehouse holds none
    due: Due
    runway: Runway | None
    is_balance_read: bool
    findings: list[Finding] | None  # that are not in order; None where only some jobs are asked for
    synced_s: float | None  # seconds since the last good sync
    report: Path | None = None


def gather(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    now: datetime,
    days: int,
    report: Path | None = None,
    *,
    scope: str | None = None,
    labels: Sequence[str] = (),
) -> Digest:
    """Ask the warehouse for the last so many whole days, and write the report of them where one is wanted.

    Jobs are those of `scope`, or of the configured one, where two are held, and those with these labels, `label=value`.
    Raises ApiframeWarehouseError where the warehouse has no views, or the report cannot be written. Where there is
    nothing to report, none is.
    """
    today, zone = local(connection, now, settings.timezone).date(), settings.timezone
    shown = queries.scope_shown(Warehouse.over(connection).scopes(), scope, settings.scope)
    those = queries.labels_asked(connection, labels)
    of = Period(today - timedelta(days=days), today - timedelta(days=1), zone, scope=shown, labels=those)
    known = queries.extent(connection)
    jobs = _jobs(connection, Asked(of, "day", now, known, settings.budget)) if known else None
    if report and jobs and jobs.totals.total["jobs"]:
        write_report(
            connection, report, of.first, of.last, zone, now, scope=shown, labels=those, budget=settings.budget
        )
    else:
        report = None
    held = Warehouse.over(connection).scopes()
    synced = held.get(shown) if shown else max((at for at in held.values() if at is not None), default=None)
    return Digest(
        warehouse=str(settings.path),
        host=socket.gethostname(),
        period=of,
        jobs=jobs,
        due=_refunds(connection, of, now),
        # What is about the account as a whole is not for those who are told of some of its jobs.
        runway=None if of.is_part else runway(connection, zone),
        is_balance_read=bool(settings.balance_every) and not of.is_part,
        findings=None if of.is_part else _not_in_order(connection, settings, now),
        synced_s=_since(moment(synced) if synced is not None else None, now),
        report=report,
    )


def _not_in_order(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> list[Finding]:
    return [finding for finding in run_checks(connection, settings, now) if finding.state != "ok"]


def _refunds(connection: duckdb.DuckDBPyConnection, of: Period, now: datetime) -> Due:
    sums = "count(*) as jobs, sum(credits) as credits, min(created_at) as oldest"
    query = f"select {sums} from reports.refunds_due where {queries.OF_JOBS}"
    due = queries.frame(connection, query, of).iloc[0]
    return Due(int(due["jobs"]), due["credits"] if due["jobs"] else Decimal(0), _since(due["oldest"], now) or 0.0)


def lines(digest: Digest) -> list[str]:
    """Say it, in at most fifteen lines."""
    days = digest.period
    told = [
        f"Apiframe, {days.first} to {days.last} ({counted(days.days, 'day')}, {days.timezone}): "
        f"{digest.warehouse} on {digest.host}",
        *(_of_jobs(digest.jobs, days) if digest.jobs else ["The warehouse holds no jobs yet."]),
        _due(digest.due),
        *_left(digest),
        *_findings(digest.findings),
        "No sync has ended well yet."
        if digest.synced_s is None
        else f"Last good sync: {age(round(digest.synced_s))} ago.",
    ]
    if digest.report:
        told.append(f"Report: {digest.report}")
    return [one_line(line, LONGEST) for line in told]


def message(digest: Digest) -> Message:
    """Return what is sent."""
    told = lines(digest)
    text = "\n".join(told)
    facts = {"warehouse": digest.warehouse, "host": digest.host, "text": text, "digest": facts_of(digest)}
    return Message(told[0], text, facts, digest.report)


def facts_of(digest: Digest) -> dict[str, Any]:
    """Return it for programs; credits and money are exact, null is unknown."""
    jobs, due = digest.jobs, digest.due
    return {
        "first_day": digest.period.first.isoformat(),
        "last_day": digest.period.last.isoformat(),
        "timezone": digest.period.timezone,
        "scope": digest.period.scope,
        "labels": {name: list(values) for name, values in digest.period.labels},
        "known_until": jobs.until.isoformat() if jobs else None,
        "total": _figures(jobs.totals.total) if jobs else None,
        "before": _figures(jobs.totals.before) if jobs and jobs.totals.before is not None else None,
        "models": [mover._asdict() for mover in jobs.movers] if jobs else [],
        "refunds_due": {"jobs": due.jobs, "credits": due.credits},
        "credits_left": digest.runway and digest.runway.credits_left,
        "findings": None if digest.findings is None else [asdict(finding) for finding in digest.findings],
        "report": digest.report and str(digest.report),
        "lines": lines(digest),
    }


def _figures(row: Any) -> dict[str, Any]:
    whole = {name: int(row[name]) for name in ("jobs", "finished", "failed", "assets", "jobs_cost_unknown")}
    return whole | {name: None if missing(row[name]) else row[name] for name in ("credits", "cost", "currency")}


def _jobs(connection: duckdb.DuckDBPyConnection, asked: Asked) -> Jobs:
    by_model = asked.summary(connection, "model")
    earlier_days = earlier(connection, asked)
    before = None if earlier_days is None else queries.summary(connection, earlier_days, "model")
    failures = []
    if by_model["ended"].sum():
        by_day = FailureRateOverTime(asked, FailureRateOverTime.load(connection, asked))
        failures = [FailureRates(asked, by_model).sentence(), by_day.found()]
    unknown = sum(int(frame["jobs_cost_unknown"].sum()) for frame in (by_model, before) if frame is not None)
    return Jobs(
        asked.shown(),
        asked.until(connection),
        compared(connection, asked),
        _movers(asked, by_model, before),
        unknown > 0,
        failures,
        RunningMonth(asked, RunningMonth.load(connection, asked)).in_short(),
    )


def _movers(asked: Asked, now: Any, before: Any) -> list[Mover]:
    """Return the models whose spending changed most, the others left out; what it was is known of all of them."""
    spent, earlier = _by_model(now), {} if before is None else _by_model(before)
    models = [model for model in spent | earlier if None not in (spent.get(model, 0), earlier.get(model, 0))]
    names = dict(zip(models, asked.names(models), strict=True))
    movers = [
        Mover(
            names[model], spent.get(model) or Decimal(0), None if before is None else earlier.get(model) or Decimal(0)
        )
        for model in models
    ]
    changed = [mover for mover in movers if mover.credits != (mover.before or 0)]
    return sorted(changed, key=lambda mover: -abs(mover.credits - (mover.before or 0)))[:MOST_MODELS]


def _by_model(frame: Any) -> dict[Any, Decimal | None]:
    """Return the credits of each model, None where those of none of its jobs are known."""
    return {
        None if missing(model) else model: None if missing(spent) else spent
        for model, spent in zip(frame["model"], frame["credits"], strict=True)
    }


def _of_jobs(jobs: Jobs, days: Period) -> list[str]:
    total, known = jobs.totals.total, f"{jobs.until:%Y-%m-%d %H:%M}"
    if jobs.until.date() < days.first:
        return [*jobs.shown, f"Nothing is known of these days: the last good sync knows jobs up to {known}."]
    part = [f"These days are known up to {known}."] if jobs.until.date() <= days.last else []
    told = [" ".join(words)] if (words := [*part, *jobs.shown]) else []
    if not total["jobs"]:
        before = jobs.totals.before
        than = "" if before is None else f"; {number(before['jobs'])} in {jobs.totals.span}"
        return [*told, f"No job was created{than}.{_ending(jobs)}"]
    created = "; ".join(filter(None, [f"{number(total['jobs'])} created", jobs.totals.change("jobs")]))
    told += [
        f"Spent: {_spent(jobs.totals)}{_ending(jobs)}",
        f"Jobs: {created}; {number(total['assets'])} files delivered, {number(total['open'])} still open.",
        *_moved(jobs),
    ]
    return told + (jobs.failures or ["No job has finished or failed."])


def _ending(jobs: Jobs) -> str:
    return f" {jobs.month}." if jobs.month else ""


def _spent(totals: Comparison) -> str:
    total = totals.total
    unknown = f"without {number(total['jobs_cost_unknown'])} of its jobs, whose cost is unknown"
    if missing(total["credits"]):
        return "unknown, the API gives no job a cost."
    parts = [
        f"{exact(total['credits'])} credits",
        money(total["cost"], total["currency"]) if not missing(total["cost"]) else "",
        why_no_cost(total) and f"not in money: {why_no_cost(total)}",
        totals.change("credits"),
        unknown if total["jobs_cost_unknown"] else "",
    ]
    return "; ".join(filter(None, parts)) + "."


def _moved(jobs: Jobs) -> list[str]:
    if not jobs.movers:
        return []
    is_held = jobs.totals.before is not None
    named = [
        f"{mover.model} {exact(mover.credits - mover.before, '+')} to {exact(mover.credits)}"
        if mover.before is not None
        else f"{mover.model} {exact(mover.credits)}"
        for mover in jobs.movers
    ]
    part = ", of known costs" if jobs.costs_unknown else ""
    return [f"{'Changed most' if is_held else 'Cost most'} (credits{part}): {', '.join(named)}."]


def _due(due: Due) -> str:
    if not due.jobs:
        return "Refunds due: none."
    oldest = age(round(due.oldest_s))
    return f"Refunds due: {exact(due.credits)} credits of {counted(due.jobs, 'failed job')}, the oldest {oldest} old."


def _left(digest: Digest) -> list[str]:
    found = digest.runway
    if found is None:
        return ["Credits left: no balance was read yet."] if digest.is_balance_read else []
    if found.credits_left is None:
        return [f"Credits left: unknown, {found.problem}."]
    return [f"Credits left: {exact(found.credits_left)}, {sentence(found)}."]


def _findings(findings: list[Finding] | None) -> list[str]:
    if findings is None:
        return []
    if not findings:
        return ["Checks: all in order."]
    ranked = sorted(findings, key=lambda finding: ("breached", "unmeasured", "warning").index(finding.state))
    told = [f"{each.check} ({each.state}): {label(each.message, LONGEST)}" for each in ranked[:MOST_FINDINGS]]
    if len(ranked) > MOST_FINDINGS:
        told.append(f"Checks: {len(ranked) - MOST_FINDINGS} more not in order; apiframe-warehouse check shows them.")
    return told


def _since(moment: Any, now: datetime) -> float | None:
    return None if missing(moment) else max(0.0, (now - moment).total_seconds())
