-- One row per day and model: the day the jobs were created.
-- Question: what was spent on which model, and what did a result cost?
-- Costs are counted as in reports.jobs. The two averages cover finished jobs whose cost is known, so that an unknown cost does
-- not pass for a low one; to average over several days, divide sums of reports.jobs rather than averaging these.
-- A price holds for whole days, so cost is exact, and in one currency. Currencies are never added up: where you sum cost, group by
-- currency too.
-- Needs: reports.jobs, reports.prices
-- Columns:
--   day: day of created_at in reports.timezone
--   model: model id; null where the API names none
--   modality: image, video or music
--   jobs: jobs created, whatever became of them
--   finished: jobs that ended well
--   credits: credits spent; null where the cost of every job is unknown
--   credits_pending: credits of jobs that are still open
--   credits_refund_due: credits among them that failed jobs cost still
--   credits_refunded: credits that were seen to be given back
--   cost: credits in money, exact; null where credits are or prices.csv has no price for the day
--   currency: of the price of the day; null where there is none
--   jobs_without_price: jobs that cost credits on a day without a price, and that cost therefore lacks
--   jobs_cost_unknown: jobs whose cost is unknown, and that credits therefore lack
--   assets: delivered files
--   credits_per_finished_job: mean credits of a finished job
--   credits_per_asset: credits of finished jobs divided by the files they delivered
with counted as (
    select
        day,
        model,
        max(modality) as modality,
        count(*) as jobs,
        count(*) filter (where is_finished) as finished,
        sum(credits) as credits,
        sum(credits_pending) as credits_pending,
        sum(credits_refund_due) as credits_refund_due,
        sum(credits_refunded) as credits_refunded,
        count(*) filter (where credits <> 0) as jobs_charged,
        count(*) filter (where is_cost_unknown) as jobs_cost_unknown,
        coalesce(cast(sum(assets) as bigint), 0) as assets,
        avg({double(case when is_finished then credits end)}) as credits_per_finished_job,
        {double(sum(case when is_finished and assets is not null then credits end))}
        / nullif(sum(case when is_finished and credits is not null then assets end), 0) as credits_per_asset
    from reports.jobs
    group by day, model
)

select
    counted.day,
    counted.model,
    counted.modality,
    counted.jobs,
    counted.finished,
    counted.credits,
    counted.credits_pending,
    counted.credits_refund_due,
    counted.credits_refunded,
    {cost(counted.credits, prices.price_per_credit)} as cost,
    prices.currency,
    case when prices.currency is null then counted.jobs_charged else 0 end as jobs_without_price,
    counted.jobs_cost_unknown,
    counted.assets,
    counted.credits_per_finished_job,
    counted.credits_per_asset
from counted
left join reports.prices
    on counted.day >= prices.valid_from and (counted.day < prices.valid_until or prices.valid_until is null)
