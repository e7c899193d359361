-- One row per open job.
-- Question: what is still running, and what hangs?
-- A job is stuck once it is older than 15 minutes and than three times the p95 turnaround of its model (15 minutes alone for
-- a model that has never finished a job). Ages count to the moment of the query, so sync first.
-- Needs: reports.jobs, reports.turnaround
-- Columns:
--   id: the API's job id
--   model: model id; null where the API names none
--   modality: image, video or music
--   status: QUEUED or PROCESSING
--   progress: percent, as the API says
--   created_at: when it was created
--   age_s: seconds since then
--   stuck_after_s: age in seconds above which it counts as stuck
--   is_stuck: it is older than that
--   credits_pending: credits it will cost if it ends well; null where unknown
select
    jobs.id,
    jobs.model,
    jobs.modality,
    jobs.status,
    jobs.progress,
    jobs.created_at,
    {seconds(jobs.created_at, now())} as age_s,
    greatest(900, coalesce(3 * turnaround.p95_s, 0)) as stuck_after_s,
    {seconds(jobs.created_at, now())} > greatest(900, coalesce(3 * turnaround.p95_s, 0)) as is_stuck,
    jobs.credits_pending
from reports.jobs
left join reports.turnaround on jobs.model is not distinct from turnaround.model
where jobs.is_open
