"""What syncs saw change in jobs that they knew: the history that the API does not keep.

What a sync has seen is noted in `BEGUN` before the jobs are merged, and told here when the sync ends well. Where it
did not end, the next one tells of those changes that the jobs have come to show, so that none is lost or told twice.
"""

from __future__ import annotations

import dataclasses

from pipelines.tables import Column, Table

TABLE = Table(
    "job_changes",
    "One row per change of a known job that a sync saw; a new job is none.",
    (
        Column("id", "VARCHAR", "The job's id."),
        Column("seen_at", "TIMESTAMPTZ", "When the sync saw it; it happened since the sync before."),
        Column("field", "VARCHAR", "status, credit_cost, webhook_status, error, expired or delisted."),
        Column("before", "VARCHAR", "What the warehouse held, as text; null where that was nothing."),
        Column("after", "VARCHAR", "What the API said, as text; null where that is nothing."),
    ),
)
#: Changes of a sync that has not ended yet; it belongs to no reader, and goes when the sync has ended.
BEGUN = dataclasses.replace(TABLE, name="_job_changes_begun", sentence="")
