-- One row per day and model that has finished a job: the day the jobs were created.
-- Question: since when does one wait longer for a result?
-- Counted as in reports.turnaround: from created_at to completed_at of finished jobs, queue and run together. On the last days
-- the jobs that take longest are open still: what they will add is not seen yet.
-- Needs: reports.jobs
-- Columns:
--   day: day of created_at in reports.timezone
--   model: model id; null where the API names none
--   modality: image, video or music
--   jobs: finished jobs with both times
--   p50_s: seconds within which half of them finished
--   p95_s: seconds within which 95 % of them finished
select
    day,
    model,
    max(modality) as modality,
    count(*) as jobs,
    percentile_cont(0.5) within group (order by turnaround_s) as p50_s,
    percentile_cont(0.95) within group (order by turnaround_s) as p95_s
from reports.jobs
where is_finished and turnaround_s is not null
group by day, model
