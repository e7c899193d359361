-- One row per day and model: the day the jobs were created.
-- Question: since when does a model fail?
-- Counted as in reports.model_reliability: failed / (finished + failed), open, cancelled and unknown jobs apart. The last days
-- have open jobs, and their rates can still move.
-- Needs: reports.jobs
-- Columns:
--   day: day of created_at in reports.timezone
--   model: model id; null where the API names none
--   modality: image, video or music
--   jobs: jobs created, whatever became of them
--   finished: jobs that ended well
--   failed: jobs that failed
--   cancelled: jobs that were cancelled
--   open: jobs that have not ended
--   unknown: jobs whose outcome is unknown
--   failure_rate: failed / (finished + failed), 0 to 1; null where there are none
--   failure_rate_low: lower end of its Wilson 95 % interval
--   failure_rate_high: upper end of its Wilson 95 % interval
with counted as (
    select
        day,
        model,
        max(modality) as modality,
        count(*) as jobs,
        count(*) filter (where is_finished) as finished,
        count(*) filter (where is_failed) as failed,
        count(*) filter (where is_cancelled) as cancelled,
        count(*) filter (where is_open) as open,
        count(*) filter (where is_unknown) as unknown
    from reports.jobs
    group by day, model
)

select
    *,
    {double(failed)} / nullif(finished + failed, 0) as failure_rate,
    {wilson_low(failed, finished)} as failure_rate_low,
    {wilson_high(failed, finished)} as failure_rate_high
from counted
