"""What settled jobs were asked for: each is read once in its life, and only where `inputs` is set."""

from __future__ import annotations

from pipelines.tables import Column, Table

TABLE = Table(
    "job_inputs",
    "One row per job whose input was asked for; none where sources.apiframe.inputs is not set.",
    (
        Column("id", "VARCHAR", "The job's id."),
        Column("input", "JSON", "What it was asked for, as served, less what inputs_keep and inputs_drop leave out."),
        Column("read_at", "TIMESTAMPTZ", "When it was read."),
        Column("problem", "VARCHAR", "Why there is no input; null where it was read."),
    ),
)
