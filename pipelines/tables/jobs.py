"""The jobs, as the API served them last. Their rows are what a sync reads (`apiframe.records`), merged by dlt."""

from pipelines.tables import Column, Table

TABLE = Table(
    "jobs",
    "One row per job that the API has listed, as it was served last.",
    (
        Column("id", "VARCHAR", "The job's id.", nullable=False),
        Column("status", "VARCHAR", "QUEUED, PROCESSING, COMPLETED, FAILED, CANCELLED, or what the API says else."),
        Column("model", "VARCHAR", "The model that was asked."),
        Column("modality", "VARCHAR", "image, video or music; null where neither catalogue nor result tells."),
        Column("progress", "DOUBLE", "How far the job is.", unit="percent"),
        Column("credit_cost", "DECIMAL(18,4)", "What the API says that the job costs.", unit="credits"),
        Column("error", "VARCHAR", "Why it failed, in the API's words."),
        Column("webhook_status", "VARCHAR", "pending, delivered, failed, or what the API says else."),
        Column("created_at", "TIMESTAMPTZ", "When the job was created.", nullable=False),
        Column("completed_at", "TIMESTAMPTZ", "When it ended; a job that has failed may lack it."),
        Column("expired", "BOOLEAN", "Whether its files are gone."),
        Column("asset_count", "INTEGER", "Delivered files; null where the shape of the result does not tell."),
        Column("result", "JSON", "What was delivered, as served."),
        Column("extra", "JSON", "Fields that are not documented, and values that do not fit their column."),
        Column("scope", "VARCHAR", "The narrowest list that held it: user or team."),
        Column("synced_at", "TIMESTAMPTZ", "When this row was last written."),
        Column("delisted_at", "TIMESTAMPTZ", "When the API was found to list it no longer."),
    ),
    mode="merge",
    key=("id",),
)
#: Columns that are worked out or added here; in all others the API itself speaks.
OURS = {"modality", "asset_count", "scope", "synced_at", "delisted_at"}
#: A row is written again only where one of these differs.
SERVED = tuple(name for name in TABLE.types if name not in OURS)
