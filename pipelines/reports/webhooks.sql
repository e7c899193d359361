-- One row per day and webhook state: the day the jobs were created; jobs without a webhook are left out.
-- Question: do results reach our systems?
-- Needs: reports.jobs
-- Columns:
--   day: day of created_at in reports.timezone
--   webhook_status: pending, delivered, sent or failed, as the API says
--   jobs: jobs whose webhook is in this state
--   share: of all webhooks of the day, 0 to 1
select
    day,
    webhook_status,
    count(*) as jobs,
    {double(count(*))} / sum(count(*)) over (partition by day) as share
from reports.jobs
where webhook_status is not null
group by day, webhook_status
