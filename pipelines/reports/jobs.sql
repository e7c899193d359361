-- One row per job, delisted ones included; id is the key.
-- Question: what became of a job, when, and what did it cost?
-- A job that has ended costs what the API says, whatever its outcome. What it says of a failed one is spent, and due to be
-- refunded; only what a sync has seen to drop to nothing counts as refunded. Credits of open jobs are pending, not spent.
-- A null credit_cost is unknown, not zero: credits stay null, and is_cost_unknown counts the job. A failed job without one
-- costs nothing: the API takes the cost away where it gives credits back.
-- cost is credits times the price of the job's day, exact: round it where it is shown. Without a price for that day it is null.
-- The API does not tell when a job started: turnaround is queue and run together.
-- Needs: apiframe.jobs, apiframe.models, apiframe.job_changes, reports.prices
-- Columns:
--   id: the API's job id
--   model: model id as the API names it; null where it names none
--   modality: image, video or music, from the models catalogue, else from the shape of the result
--   status: status as the API names it
--   outcome: finished, failed, cancelled, open or unknown; exactly one of the is_ columns that follow is true
--   is_finished: COMPLETED
--   is_failed: FAILED
--   is_cancelled: CANCELLED
--   is_open: QUEUED or PROCESSING, and still listed by the API
--   is_unknown: a status this project does not know, or one that was open when the API stopped listing the job
--   day: day of created_at in reports.timezone
--   created_at: when the job was created
--   completed_at: when it ended; null while open, and on some failed jobs
--   turnaround_s: seconds from created_at to completed_at; null where either is missing or they are in the wrong order
--   credits: credits spent, as the API says; 0 for open jobs and failed ones without a cost, null where unknown
--   credits_pending: credits of an open job, which are spent if it ends well; null where unknown, 0 for all others
--   credits_refund_due: what a failed job costs still, as it was read last; 0 for all others
--   credits_refunded: what a job that has ended was seen to cost before its cost dropped to 0 or null, where it still is
--   cost: credits in money; null where they are unknown or prices.csv has no price for the day
--   currency: of the price of the day; null where there is none
--   is_cost_unknown: credit_cost is null on a job that has not failed
--   assets: delivered files; null where the result has a shape this project does not know
--   progress: percent, as the API says
--   failure_reason: why it failed, from error_classes.csv; unknown where no text matches; null where it has not failed
--   error: the API's error message
--   webhook_status: pending, delivered, sent or failed; null without a webhook
--   is_expired: the API has deleted the files
--   scope: user or team, the scope that listed the job
--   synced_at: when the row was last written
--   delisted_at: when the API was first seen not to list the job any more
with catalogue as (
    select id, max(modality) as modality
    from apiframe.models
    group by id
),

drops as (
    select
        id,
        cast(case when field = 'credit_cost' then before end as decimal(18, 4)) as credits,
        row_number() over (partition by id order by seen_at desc) as latest
    from apiframe.job_changes
    where field = 'credit_cost' and before not like '-%' and before <> '0' and coalesce(after, '0') = '0'
),

days as (
    select distinct {local_day(created_at)} as day
    from apiframe.jobs
    where exists (select 1 from reports.prices)
),

-- A row a day rather than a span of days: engines then leave out the join where nobody asks for a cost, which takes 60 ms of a
-- million jobs.
prices_by_day as (
    select
        days.day,
        max(prices.price_per_credit) as price_per_credit,
        max(prices.currency) as currency
    from days
    inner join reports.prices
        on days.day >= prices.valid_from and (days.day < prices.valid_until or prices.valid_until is null)
    group by days.day
),

outcomes as (
    select
        *,
        {local_day(created_at)} as day,
        case
            when status = 'COMPLETED' then 'finished'
            when status = 'FAILED' then 'failed'
            when status = 'CANCELLED' then 'cancelled'
            when status in ('QUEUED', 'PROCESSING') and delisted_at is null then 'open'
            else 'unknown'
        end as outcome
    from apiframe.jobs
),

source as (
    select
        *,
        case
            when outcome = 'open' then 0
            when outcome = 'failed' then coalesce(credit_cost, 0)
            else credit_cost
        end as credits
    from outcomes
)

select
    source.id,
    source.model,
    coalesce(catalogue.modality, source.modality) as modality,
    source.status,
    source.outcome,
    source.outcome = 'finished' as is_finished,
    source.outcome = 'failed' as is_failed,
    source.outcome = 'cancelled' as is_cancelled,
    source.outcome = 'open' as is_open,
    source.outcome = 'unknown' as is_unknown,
    source.day,
    source.created_at,
    source.completed_at,
    case
        when source.completed_at >= source.created_at then {seconds(source.created_at, source.completed_at)}
    end as turnaround_s,
    source.credits,
    case when source.outcome = 'open' then source.credit_cost else 0 end as credits_pending,
    case when source.outcome = 'failed' and source.credit_cost > 0 then source.credit_cost else 0 end
    as credits_refund_due,
    case
        when source.outcome <> 'open' and coalesce(source.credit_cost, 0) = 0 then coalesce(drops.credits, 0) else 0
    end as credits_refunded,
    {cost(source.credits, prices.price_per_credit)} as cost,
    prices.currency,
    source.credit_cost is null and source.outcome <> 'failed' as is_cost_unknown,
    source.asset_count as assets,
    source.progress,
    case when source.outcome = 'failed' then {failure_reason(source.error)} end as failure_reason,
    source.error,
    source.webhook_status,
    source.expired as is_expired,
    source.scope,
    source.synced_at,
    source.delisted_at
from source
left join catalogue on source.model = catalogue.id
left join drops on source.id = drops.id and drops.latest = 1
left join prices_by_day as prices on source.day = prices.day
