-- One row in all.
-- Question: how far can these figures be trusted today?
-- Ages count to the moment of the query. All but the counts are null where there is nothing yet. In a DuckDB file of
-- more than 256 MB syncs that found nothing new appear up to an hour later; `status` and `check` know of them at once.
-- Needs: apiframe.sync_runs, reports.jobs
-- Columns:
--   last_sync_at: when the last sync that ended well ended
--   last_sync_age_s: seconds since then
--   syncs: syncs that ended well
--   newest_job_at: when the newest job was created
--   newest_job_age_s: seconds since then
--   jobs: jobs in the warehouse
--   open: jobs that had not ended at the last sync
with syncs as (
    select
        max(finished_at) as last_sync_at,
        count(*) as syncs
    from apiframe.sync_runs
),

newest as (
    select
        max(created_at) as newest_job_at,
        count(*) as jobs,
        count(*) filter (where is_open) as open
    from reports.jobs
)

select
    syncs.last_sync_at,
    {seconds(syncs.last_sync_at, now())} as last_sync_age_s,
    syncs.syncs,
    newest.newest_job_at,
    {seconds(newest.newest_job_at, now())} as newest_job_age_s,
    newest.jobs,
    newest.open
from syncs
cross join newest
