-- One row per job, delisted ones included; id is the key.
-- Question: what became of a job, when, and what did it cost?
-- A job that has ended costs what the API says, whatever its outcome. What it says of a failed one is spent, and due to be
-- refunded; only what a sync has seen to drop to nothing counts as refunded. Credits of open jobs are pending, not spent.
-- A null credit_cost is unknown, not zero: credits stay null, and is_cost_unknown counts the job. A failed job without one
-- costs nothing: the API takes the cost away where it gives credits back.
-- The API does not tell when a job started: turnaround is queue and run together.
-- Needs: apiframe.jobs, apiframe.models, apiframe.job_changes
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

source as (
    select
        *,
        case
            when status = 'COMPLETED' then 'finished'
            when status = 'FAILED' then 'failed'
            when status = 'CANCELLED' then 'cancelled'
            when status in ('QUEUED', 'PROCESSING') and delisted_at is null then 'open'
            else 'unknown'
        end as outcome
    from apiframe.jobs
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
    {local_day(source.created_at)} as day,
    source.created_at,
    source.completed_at,
    case
        when source.completed_at >= source.created_at then {seconds(source.created_at, source.completed_at)}
    end as turnaround_s,
    case
        when source.outcome = 'open' then 0
        when source.outcome = 'failed' then coalesce(source.credit_cost, 0)
        else source.credit_cost
    end as credits,
    case when source.outcome = 'open' then source.credit_cost else 0 end as credits_pending,
    case when source.outcome = 'failed' and source.credit_cost > 0 then source.credit_cost else 0 end
    as credits_refund_due,
    case
        when source.outcome <> 'open' and coalesce(source.credit_cost, 0) = 0 then coalesce(drops.credits, 0) else 0
    end as credits_refunded,
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
