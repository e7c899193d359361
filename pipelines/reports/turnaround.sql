-- One row per model that has finished a job, over everything the warehouse holds.
-- Question: how long does one wait for a result?
-- From created_at to completed_at, queue and run together, since the API does not tell when a job started. Only finished jobs:
-- a refusal after a second or a time-out after an hour says nothing about the wait for a result.
-- Needs: reports.jobs
-- Columns:
--   model: model id; null where the API names none
--   modality: image, video or music
--   jobs: finished jobs with both times
--   p50_s: seconds within which half of them finished
--   p90_s: seconds within which 90 % of them finished
--   p95_s: seconds within which 95 % of them finished
--   p99_s: seconds within which 99 % of them finished
select
    model,
    max(modality) as modality,
    count(*) as jobs,
    percentile_cont(0.5) within group (order by turnaround_s) as p50_s,
    percentile_cont(0.9) within group (order by turnaround_s) as p90_s,
    percentile_cont(0.95) within group (order by turnaround_s) as p95_s,
    percentile_cont(0.99) within group (order by turnaround_s) as p99_s
from reports.jobs
where is_finished and turnaround_s is not null
group by model
