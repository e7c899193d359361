-- One row per model and failure reason, over everything the warehouse holds.
-- Question: why do jobs fail, and what does such a failure look like?
-- Reasons come from error_classes.csv, first match wins; the row with reason unknown says how much no rule explains.
-- Needs: reports.jobs
-- Columns:
--   model: model id; null where the API names none
--   failure_reason: content policy, provider error, time-out ..., or unknown
--   jobs: failed jobs
--   share: of the model's failed jobs, 0 to 1
--   first_seen_at: when the first of them was created
--   last_seen_at: when the last of them was created
--   example_id: the newest of them
--   example_error: its message, as the API words it
with failed as (
    select
        id,
        model,
        failure_reason,
        error,
        created_at,
        row_number() over (partition by model, failure_reason order by created_at desc, id desc) as newest
    from reports.jobs
    where is_failed
)

select
    model,
    failure_reason,
    count(*) as jobs,
    {double(count(*))} / sum(count(*)) over (partition by model) as share,
    min(created_at) as first_seen_at,
    max(created_at) as last_seen_at,
    max(case when newest = 1 then id end) as example_id,
    max(case when newest = 1 then error end) as example_error
from failed
group by model, failure_reason
