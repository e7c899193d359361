"""Which jobs are stuck."""

from collections.abc import Callable
from typing import Any

from pipelines.pages.stuck_jobs import StuckJobs

Make = Callable[..., Any]


def test_jobs_of_any_date_that_are_late_with_their_age_in_the_readers_zone(
    add: Make, answer: Make, cells: Make
) -> None:
    add(1, "PROCESSING", hours=24 * 100, model=None)
    add(1, "QUEUED", hours=0.2)
    section = answer(StuckJobs, days=1, timezone="Asia/Tokyo")
    assert cells(section) == [["job-0", "(none)", "PROCESSING", "2024-01-07 21:00", "100.0", "15.0"]]
    assert [column.title for column in section.table().columns][3:] == [
        *("Created (Asia/Tokyo)", "Age (d)", "Stuck after (min)")
    ]
    assert section.sentence().endswith("turnaround.")


def test_none_is_said(add: Make, answer: Make) -> None:
    add(1, "QUEUED", hours=0.2)
    section = answer(StuckJobs)
    assert section.table() is None
    assert section.sentence().endswith("turnaround: none.")
