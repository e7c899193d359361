"""What a sync is to do: decided from what was asked for, and what earlier ones have left. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipelines.apiframe.frontier import Known
from pipelines.apiframe.slices import can_restore
from pipelines.errors import ConfigurationError
from pipelines.sync.progress import Progress
from pipelines.tables.sync_runs import Run

NO_EFFECT = "--since has no effect: the warehouse goes back further already"
WENT_ON = "went on where an earlier sync was cut short"


@dataclass(frozen=True)
class Facts:
    """What is known beforehand. `runs` holds the last sync of each scope that ended well."""

    scope: str
    base_url: str
    place: object
    full: bool = False
    since: int | None = None
    runs: Mapping[str, Run] = field(default_factory=dict)
    progress: Progress | None = None
    left_of: str | None = None  # the base_url of what was left in any scope

    @property
    def last(self) -> Run | None:
        """The last sync of this scope."""
        return self.runs.get(self.scope)

    @property
    def latest(self) -> Run | None:
        """The last sync of any scope."""
        return max(self.runs.values(), key=lambda run: run.number, default=None)


@dataclass(frozen=True)
class Plan:
    """What to do: read how much (`mode`, `since`), counted as which `number`, and from where to go on."""

    mode: str
    since: int | None
    number: int
    whole: bool = False  # as a person has asked for: an end of the list that was asked for twice is believed
    known: Known | None = None
    seen_at: int | None = None  # what was unsettled then is met, or looked up; None: nothing is
    progress: Progress | None = None  # of the sync that this one goes on with
    reach: int | None = None  # microseconds: how old the jobs are that the API lists; None: of any age
    complete_since: int | None = None  # when the last sync of this scope began
    notes: tuple[str, ...] = ()


def plan(facts: Facts) -> Plan:
    """Decide it. Raises ConfigurationError where the warehouse is one of another API."""
    last, latest = facts.last, facts.latest
    belongs_to = latest.base_url if latest else facts.left_of
    if belongs_to not in (None, facts.base_url):
        raise ConfigurationError(
            f"{facts.place} belongs to {belongs_to}; for {facts.base_url} set another warehouse.path"
        )
    planned = Plan(
        _mode(facts),
        facts.since,
        latest.number + 1 if latest else 1,
        facts.full,
        reach=latest.reach_seconds * 1_000_000 if latest and latest.reach_seconds is not None else None,
        complete_since=last.started_at if last else None,
    )
    if last and planned.mode == "incremental":
        known, at = Known(last.started_at, last.high_water_mark), last.started_at
        notes = () if facts.since is None else (NO_EFFECT,)
        return replace(planned, since=last.since, known=known, seen_at=at, notes=notes)
    if planned.mode == "first" and latest:  # what the other scope has brought may be gone since
        planned = replace(planned, seen_at=min(run.started_at for run in facts.runs.values()))
    if (left := facts.progress) is None or not _goes_on(planned, left, last):
        return planned
    return replace(
        planned,
        known=Known(left.started_at, left.high_water_mark, progress=left.slices),
        seen_at=min(left.started_at, planned.seen_at or left.started_at),
        progress=left,
        notes=(WENT_ON,),
    )


def _mode(facts: Facts) -> str:
    last, since = facts.last, facts.since
    if last is None:  # where nothing was read yet, a first load reads everything
        return "first"
    if facts.full:
        return "full"
    return "first" if since is not None and last.since is not None and since < last.since else "incremental"


def _goes_on(planned: Plan, left: Progress, last: Run | None) -> bool:
    """Tell whether the sync that is planned can go on with what another has left."""
    return (
        (left.mode, left.since) == (planned.mode, planned.since)
        and can_restore(left.slices)
        and (last is None or left.number > last.number)  # not its time: clocks can be set back
        # What a full sync has seen is forgotten at the end of any other.
        and (planned.mode == "first" or left.number == planned.number)
    )
