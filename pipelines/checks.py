"""Thresholds on freshness, failure rates, the month's credits, stuck jobs, webhooks and the account's balance.

Says what it measured whether or not anything is wrong; what it cannot measure is a finding too. Exit codes
are the command's business.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from html import escape
from typing import Any, Literal
from zoneinfo import ZoneInfo

import duckdb

from pipelines.errors import ApiframeWarehouseError
from pipelines.reports import engine_of, macros, render
from pipelines.reports.queries import NO_VIEWS
from pipelines.settings import Settings
from pipelines.warehouse import Warehouse
from pipelines.wording import exact, label, number, percent, seconds

State = Literal["ok", "warning", "breached", "unmeasured"]
CHECKS = ("last_sync", "failure_rate", "monthly_credits", "stuck_jobs", "webhook_failures", "balance")
WARN_AT = Decimal("0.8")  # of the month's budget


@dataclass(frozen=True)
class Finding:
    """What one check measured: seconds, exact credits, rates from 0 to 1. `message` is one line of plain text."""

    check: str
    state: State
    measured: float | Decimal | None
    threshold: float | Decimal | None
    message: str


def run_checks(connection: duckdb.DuckDBPyConnection | None, settings: Settings, now: datetime) -> list[Finding]:
    """Run every check against the views; `connection` is None where there is no warehouse."""
    if connection is None:
        return _unmeasured("there is no warehouse yet; run sync")
    try:
        [(synced_at,)] = _rows(
            connection, "select cast(extract(epoch from last_sync_at) as double precision) from reports.freshness"
        )
        if synced_at is None:
            return _unmeasured("no sync has ended well yet; run sync")
        return [
            _last_sync(now.timestamp() - synced_at, settings),
            *_failure_rates(connection, settings, now),
            _monthly_credits(connection, settings, now),
            _stuck_jobs(connection, settings, now),
            _webhooks(connection, settings, now),
            _balance(connection, settings, now),
        ]
    except (duckdb.CatalogException, duckdb.BinderException):
        return _unmeasured(NO_VIEWS)


def notify(findings: list[Finding], hook: str) -> None:
    """Send what is not in order to Slack, in one message; nothing where all is well. Never shows the hook."""
    lines = [f"{finding.state}: {finding.message}" for finding in findings if finding.state != "ok"]
    if not lines:
        return
    from dlt.common.runtime.slack import send_slack_message  # half a second that only a breach costs

    text = escape("\n".join(["Apiframe warehouse", *lines]), quote=False)
    try:
        send_slack_message(hook, text, is_markdown=False)
    except Exception as problem:
        # The message of the fault holds the address, and so does its traceback.
        raise ApiframeWarehouseError(
            f"Slack did not take the message ({type(problem).__name__}): see runtime.slack_incoming_hook"
        ) from None


def _unmeasured(reason: str) -> list[Finding]:
    return [Finding(check, "unmeasured", None, None, f"not measured: {reason}") for check in CHECKS]


def _last_sync(age: float, settings: Settings) -> Finding:
    most = settings.max_age.total_seconds()
    return Finding(
        "last_sync",
        "breached" if abs(age) > most else "ok",  # one far ahead would hide for long that syncs have stopped
        age,
        most,
        f"the last good sync ended {seconds(age)} ago (at most {seconds(most)})"
        if age >= 0
        else f"the last good sync ended {seconds(-age)} ahead of this clock (at most {seconds(most)})",
    )


def _failure_rates(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> list[Finding]:
    """Return each model whose interval lies above the threshold, else the highest one that was measured."""
    rows = _rows(
        connection,
        """
        with counted as (
            select
                model,
                count(*) filter (where is_failed) as failed,
                count(*) filter (where is_finished) as finished
            from reports.jobs where created_at >= cast($since as timestamptz) group by model
        )
        select model, failed, failed + finished, {wilson_low(failed, finished)} as low
        from counted where failed + finished >= $least order by low desc, model nulls last
        """,
        since=(now - settings.failure_window).isoformat(),
        least=settings.failure_min_jobs,
    )
    window = f"in the last {seconds(settings.failure_window.total_seconds())}"
    if not rows:
        few = f"no model has {settings.failure_min_jobs} finished or failed jobs {window}"
        return [Finding("failure_rate", "ok", None, settings.failure_rate, few)]
    findings = [
        Finding(
            "failure_rate",
            "breached" if low > settings.failure_rate else "ok",
            failed / ended,
            settings.failure_rate,
            f"{label(model, 60)} failed in {percent(failed / ended)} of {ended:,} jobs {window}; the lower "
            f"end of its 95 % interval is {percent(low)} (at most {percent(settings.failure_rate)})",
        )
        for model, failed, ended, low in rows
    ]
    return [finding for finding in findings if finding.state == "breached"] or findings[:1]


def _monthly_credits(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> Finding:
    local = now.astimezone(ZoneInfo(settings.timezone))
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    [(spent, unknown)] = _rows(
        connection,
        """
        select coalesce(sum(credits), 0), count(*) filter (where is_cost_unknown)
        from reports.jobs where {local_day(created_at)} between $first and $today
        """,
        settings.timezone,
        first=first.date(),
        today=local.date(),
    )
    passed = (now.timestamp() - first.timestamp()) / (following.timestamp() - first.timestamp())
    budget = settings.monthly_credits
    message = f"{exact(spent)} credits spent in {local:%Y-%m}"
    if passed > 0:
        message += f", {number(float(spent) / passed)} by its end at this pace"
    if unknown:
        message += f", without {unknown:,} jobs of unknown cost"
    message += f" (budget {exact(budget)})" if budget else " (no budget set)"
    state: State = "ok"
    if budget and spent >= WARN_AT * budget:
        state = "breached" if spent >= budget else "warning"
    return Finding("monthly_credits", state, spent, budget or None, message)


def _stuck_jobs(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> Finding:
    [(stuck, open_jobs, oldest)] = _rows(
        connection,
        """
        with aged as (
            select {seconds(created_at, cast($now as timestamptz))} as age_s, stuck_after_s
            from reports.open_jobs
        )
        select count(*) filter (where age_s > stuck_after_s), count(*), max(age_s) from aged
        """,
        now=now.isoformat(),
    )
    message = f"{stuck:,} of {open_jobs:,} open jobs are stuck (at most {settings.stuck_jobs:,})"
    if stuck:
        message += f"; the oldest is {seconds(oldest)} old"
    state: State = "breached" if stuck > settings.stuck_jobs else "ok"
    return Finding("stuck_jobs", state, stuck, settings.stuck_jobs, message)


def _webhooks(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> Finding:
    [(failed, ended)] = _rows(
        connection,
        """
        select count(*) filter (where webhook_status = 'failed'), count(*)
        from reports.jobs where created_at >= cast($since as timestamptz) and webhook_status <> 'pending'
        """,
        since=(now - settings.failure_window).isoformat(),
    )
    rate = failed / ended if ended else None
    window = f"in the last {seconds(settings.failure_window.total_seconds())}"
    return Finding(
        "webhook_failures",
        "breached" if rate is not None and rate > settings.webhook_failure_rate else "ok",
        rate,
        settings.webhook_failure_rate,
        f"{failed:,} of {ended:,} webhooks {window} failed (at most {percent(settings.webhook_failure_rate)})",
    )


def _balance(connection: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> Finding:
    """Say what the account has left; no reading for longer than `checks.max_age` does not pass for one."""
    most = settings.max_age.total_seconds()
    if not settings.balance_every:
        return Finding("balance", "ok", None, most, "not read, since sources.apiframe.balance_every is 0")
    last, good, first = Warehouse.over(connection).balances()
    since = good or first
    if last is None or since is None:
        return Finding("balance", "ok", None, most, "no balance was read yet: the next sync asks for it")
    age = now.timestamp() - since.read_at / 1e6
    if good and age <= most:
        return Finding("balance", "ok", age, most, f"{exact(good.credits)} credits were left {seconds(age)} ago")
    reason = f": {label(last.problem, 200)}" if last.problem else ""
    read = f"the balance was last read {seconds(age)} ago" if good else "the balance could not be read"
    if age <= most:
        return Finding("balance", "ok", None, most, f"{read}{reason}")
    off = "sources.apiframe.balance_every = 0 leaves it out"
    return Finding("balance", "unmeasured", age if good else None, most, f"not measured: {read}{reason} ({off})")


def _rows(
    connection: duckdb.DuckDBPyConnection, query: str, timezone: str = "UTC", **given: Any
) -> list[tuple[Any, ...]]:
    return connection.execute(render(query, macros(timezone, [], engine_of(connection))), given).fetchall()
