"""What the running month costs: so far, by its end, and against its budget and the month before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import NamedTuple

import duckdb
import pandas as pd

from pipelines import charts
from pipelines.charts import Chart, Width
from pipelines.outlook import DAYS, Left, Outlook, gapless, outlook
from pipelines.pages import Asked, Card, Section
from pipelines.reports import queries
from pipelines.wording import counted, exact, missing, money, percent


class Month(NamedTuple):
    """Spending of two months and the weeks before, in one unit: a currency, or credits where it is None.

    `before` is that of the month before, None where history lacks some of it; `alike` what its first days cost, as many
    as are over in this one. `coming` has what will have been spent by the end of each day that is left.
    """

    at: datetime  # up to which jobs are known, on the clocks of the period's zone
    currency: str | None
    days: pd.Series[Decimal]  # of this month, by day
    before: Decimal | None
    alike: Decimal | None
    coming: list[Left]
    outlook: Outlook | None  # whose pace that is, in credits

    @property
    def spent(self) -> Decimal:
        """What the month has cost so far."""
        return sum(self.days, Decimal(0))

    @property
    def over(self) -> Decimal:
        """What its days have cost that are over."""
        return sum((spent for day, spent in self.days.items() if day < self.at.date()), Decimal(0))


class RunningMonth(Section):
    """The calendar month up to which jobs are known, whatever the period; data: a Month."""

    pages = ("report", "credit_spend")
    place = 15
    heading = "This month"
    title = "Spent this month"
    question = "What does this month cost?"

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, asked: Asked) -> Month:
        at = asked.until(connection)
        first = at.date().replace(day=1)
        oldest = min((first - timedelta(days=1)).replace(day=1), at.date() - timedelta(days=DAYS))
        period = replace(asked.period, first=oldest, last=at.date())
        data = queries.summary(connection, period, "day")
        currency, price = _currency(data, first, asked), queries.price(connection, at.date())
        rate = Decimal(1) if currency is None else price[0] if price and price[1] == currency else None
        return _month(data, at, currency, rate, queries.held_since(connection, period, asked.known))

    def cards(self) -> list[Card]:
        found = self.data
        name, last = f"{found.at:%B %Y}", found.at.date().replace(day=1) - timedelta(days=1)
        cards = [Card(f"{name} so far", self._written(found.spent), self._change())]
        if found.coming:
            end = found.coming[-1]
            cards.append(Card("By its end", self._about(end.expected), f"80 % range: {self._range(end)}"))
        if found.before is not None:
            cards.append(Card(f"{last:%B %Y}", self._written(found.before), "the whole month"))
        if self._limit is not None:
            used = percent(found.spent / self._limit)
            cards.append(Card("Budget", self._written(self._limit), f"{used} spent"))
        return cards

    def chart(self, width: Width) -> Chart | None:
        found = self.data
        if not found.spent:
            return None
        limit = None if self._limit is None else float(self._limit)
        return charts.ahead(list(self._known()), found.coming, f"{found.currency or 'credits'} spent", width, limit)

    def sentence(self) -> str:
        found, told = self.data, []
        if found.outlook and found.coming:
            new = ", which stand out from the weeks before," if found.outlook.is_new else ","
            told.append(
                f"The line goes on at the pace of the last {counted(found.outlook.days, 'day')}{new} in its 80 % range."
            )
        if self._limit is not None:
            told.append(f"The line across is the budget: {self._written(self._limit)} a month.{self._outlook()}")
        elif self.asked.budget.amount and not self.asked.period.is_part:
            unit = self.asked.budget.currency
            told.append(f"The budget is in {unit}, and what the month costs in {unit} is not known.")
        return " ".join(told)

    def in_short(self) -> str:
        """How the month will end, in one line; nothing where that cannot be told, or no more is coming."""
        found = self.data
        if not found.coming or (end := found.coming[-1]).high <= found.spent:
            return ""
        told = f"{found.at:%B %Y}: {self._written(found.spent)} so far, {self._about(end.expected)} expected by its end"
        return f"{told} (80 % range: {self._range(end)})"

    @property
    def _limit(self) -> Decimal | None:
        budget = self.asked.budget
        is_for_these = bool(budget.amount) and not self.asked.period.is_part
        return budget.amount if is_for_these and budget.currency == self.data.currency else None

    def _outlook(self) -> str:
        found, limit = self.data, float(self._limit or 0)
        if found.spent > limit:
            return f" It is exceeded by {self._written(found.spent - (self._limit or 0))}."
        if not found.coming:
            return ""
        end = found.coming[-1]
        if end.low > limit:
            return " The month will likely end above it."
        return " The month will likely end within it." if end.high <= limit else " The month may end above it."

    def _change(self) -> str:
        found, days = self.data, self.data.at.day - 1
        if not found.alike:
            return ""
        change = float(found.over) / float(found.alike) - 1
        before = f"the {self._written(found.alike)} of the first {days} of the month before"
        return f"{100 * change:+,.1f} % in {counted(days, 'whole day')}, against {before}"

    def _known(self) -> Iterator[tuple[datetime, float]]:
        """Return what had been spent at the end of each day, and now."""
        found = self.data
        spent = 0.0
        for day in pd.date_range(found.at.date().replace(day=1), found.at.date()):
            yield datetime.combine(day, time.min), spent
            spent += float(found.days.get(day.date(), 0))
        yield found.at, spent

    def _written(self, amount: Decimal) -> str:
        return money(amount, self.data.currency) if self.data.currency else f"{exact(amount)} credits"

    def _about(self, amount: float) -> str:
        return self._written(Decimal(round(amount)) if not self.data.currency else Decimal(f"{amount:.2f}"))

    def _range(self, end: Left) -> str:
        low = self._about(max(end.low, float(self.data.spent))).rpartition(" ")[0]
        return f"{low} to {self._about(end.high)}"


def _currency(data: pd.DataFrame, first: date, asked: Asked) -> str | None:
    """Return the currency in which every day from the month before on has a cost, where there is one.

    None where the budget is in credits.
    """
    shown = data[data["day"] >= (first - timedelta(days=1)).replace(day=1)]
    priced = shown[shown["credits"].map(lambda spent: not missing(spent) and spent != 0)]
    is_priced = len(priced) > 0 and not priced["cost"].isna().any() and priced["currency"].nunique() == 1
    in_credits = bool(asked.budget.amount) and asked.budget.currency is None
    return str(priced["currency"].iloc[0]) if is_priced and not in_credits else None


def _month(data: pd.DataFrame, at: datetime, currency: str | None, rate: Decimal | None, oldest: date) -> Month:
    """Return what days tell of a month; `rate` is what a credit costs today, None where that is in another unit."""
    today, first = at.date(), at.date().replace(day=1)
    before, over = (first - timedelta(days=1)).replace(day=1), (first + timedelta(days=32)).replace(day=1)
    spent = _by_day(data, "cost" if currency else "credits")

    def between(start: date, end: date) -> Decimal:
        return sum((amount for day, amount in spent.items() if start <= day < end), Decimal(0))

    # The oldest day of all may be no whole one.
    since = max(oldest + timedelta(days=1), today - timedelta(days=DAYS))
    found = outlook(gapless(_by_day(data, "credits"), since, today), today)
    coming = found.ahead(at, over) if found and rate is not None else []
    so_far, each = float(between(first, today + timedelta(days=1))), float(rate or 0)
    is_whole = oldest <= before
    return Month(
        at,
        currency,
        pd.Series({day: amount for day, amount in spent.items() if day >= first}, dtype=object),
        between(before, first) if is_whole else None,
        between(before, before + timedelta(days=at.day - 1))
        if is_whole and 1 < at.day <= (first - before).days + 1  # the month before may be a shorter one
        else None,
        [Left(day, *(so_far + each * amount for amount in amounts)) for day, *amounts in coming],
        found,
    )


def _by_day(data: pd.DataFrame, column: str) -> dict[date, Decimal]:
    """Return a figure of each day that has jobs, nothing where it is missing."""
    pairs = zip(data["day"], data[column], strict=True)
    return {day: Decimal(0) if missing(amount) else Decimal(amount) for day, amount in pairs}
