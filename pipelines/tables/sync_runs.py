"""The syncs that ended well. Their rows are written last: what they stand for is stored by then."""

from typing import NamedTuple

from pipelines.tables import Column, Table


class Run(NamedTuple):
    """A row of `sync_runs`; times in microseconds since 1970. `number` counts up: clocks can be set back."""

    started_at: int
    finished_at: int
    mode: str
    requests: int
    retries: int
    jobs_read: int
    jobs_new: int
    jobs_finished: int
    open_jobs: int
    high_water_mark: int | None
    scope: str
    since: int | None
    base_url: str
    number: int
    user_id: str | None = None  # whose key it was; null where that was not asked yet
    team_id: str | None = None
    reach_seconds: int | None = None  # how far back the API lists, where a full sync has found that; null: all the way


TABLE = Table(
    "sync_runs",
    "One row per sync that ended well.",
    (
        Column("started_at", "TIMESTAMPTZ", "When it began, by the API's clock."),
        Column("finished_at", "TIMESTAMPTZ", "When it had read and stored everything."),
        Column("mode", "VARCHAR", "first, incremental or full."),
        Column("requests", "BIGINT", "Requests sent."),
        Column("retries", "BIGINT", "Requests among them that were tries of one that had failed."),
        Column("jobs_read", "BIGINT", "Jobs on the pages that were read; one may be on several."),
        Column("jobs_new", "BIGINT", "Jobs that the warehouse did not hold before."),
        Column("jobs_finished", "BIGINT", "Known jobs that had reached a final status."),
        Column("open_jobs", "BIGINT", "Jobs that were open afterwards."),
        Column("high_water_mark", "TIMESTAMPTZ", "When the newest job seen so far was created."),
        Column("scope", "VARCHAR", "The list that was read: user or team."),
        Column("since", "TIMESTAMPTZ", "The oldest jobs asked for; null: all."),
        Column("base_url", "VARCHAR", "The API that this warehouse belongs to."),
        Column("number", "BIGINT", "Counts the syncs up, since clocks can be set back."),
        Column("user_id", "VARCHAR", "Whose key it was; null where that was not asked yet."),
        Column("team_id", "VARCHAR", "The team of that user; null where there is none, or it was not asked yet."),
        Column(
            "reach_seconds",
            "BIGINT",
            "How old a job may be that the API lists, where a full sync found older ones by id alone; null: any age.",
            unit="seconds",
        ),
    ),
)
