-- One row per model, over everything the warehouse holds.
-- Question: which model fails too often, and is that more than chance?
-- The rate is failed / (finished + failed): open jobs have not ended, cancelled ones were ended by their owner, and both are
-- counted apart. The interval is Wilson's for 95 %: compare the ends of two intervals, not two rates of a few jobs.
-- Needs: reports.daily_reliability
-- Columns:
--   model: model id; null where the API names none
--   modality: image, video or music
--   jobs: jobs created, whatever became of them
--   finished: jobs that ended well
--   failed: jobs that failed
--   cancelled: jobs that were cancelled
--   open: jobs that have not ended
--   unknown: jobs whose outcome is unknown
--   failure_rate: failed / (finished + failed), 0 to 1; null where there are none
--   failure_rate_low: lower end of the interval
--   failure_rate_high: upper end of the interval
with counted as (
    select
        model,
        max(modality) as modality,
        cast(sum(jobs) as bigint) as jobs,
        cast(sum(finished) as bigint) as finished,
        cast(sum(failed) as bigint) as failed,
        cast(sum(cancelled) as bigint) as cancelled,
        cast(sum(open) as bigint) as open,
        cast(sum(unknown) as bigint) as unknown
    from reports.daily_reliability
    group by model
)

select
    *,
    {double(failed)} / nullif(finished + failed, 0) as failure_rate,
    {wilson_low(failed, finished)} as failure_rate_low,
    {wilson_high(failed, finished)} as failure_rate_high
from counted
