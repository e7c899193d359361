-- One row per failed job that costs credits still, newest first.
-- Question: which refunds have not come, and what does a support request need?
-- The vendor promises to give back in full what a failed job has cost. These are the jobs for which no sync has seen it; a
-- job is not read again long after it has ended, so sync --full before you write: it reads everything as it is now.
-- Needs: reports.jobs
-- Columns:
--   id: the API's job id
--   created_at: when the job was created, which is when its credits were taken
--   model: model id; null where the API names none
--   error: the API's error message
--   credits: what it costs, as it was read last
--   cost: the same in money, exact; null where prices.csv has no price for the day it was created
--   currency: of that price
--   age_s: seconds since created_at, to the moment of the query
select
    id,
    created_at,
    model,
    error,
    credits,
    cost,
    currency,
    {seconds(created_at, now())} as age_s
from reports.jobs
where credits_refund_due > 0
order by created_at desc, id
