-- One row per calendar month and model: the month the jobs were created.
-- Question: where do the credits go, and how has that changed on the month before?
-- Only whole months are compared. A running month has no change yet, and neither has one whose end came after the last good sync:
-- is_running marks both. The report holds days that have passed against as many before them. A month that the warehouse holds only
-- from its middle on, since the account is younger or --since left out the rest, is compared with nothing.
-- cost is never of a part, nor of two currencies: it is null where jobs_without_price is above 0, and where the currency changed
-- within the month (jobs_without_price is 0 then); reports.daily_spend has the days.
-- Needs: reports.daily_spend, apiframe.sync_runs
-- Columns:
--   month: first day of the month in reports.timezone
--   model: model id; null where the API names none
--   modality: image, video or music
--   is_running: the month is not over, or was not when the last good sync began: what has come of it since is not known
--   jobs: jobs created, whatever became of them
--   finished: jobs that ended well
--   credits: credits spent; null where the cost of every job is unknown
--   credits_pending: credits of jobs that are still open
--   credits_refund_due: credits among them that failed jobs cost still
--   credits_refunded: credits that were seen to be given back
--   cost: credits in money, exact; null where some of them have no price, or prices of two currencies
--   currency: of the month's prices; null where there is none, or more than one
--   jobs_without_price: jobs that cost credits on a day without a price
--   jobs_cost_unknown: jobs whose cost is unknown, and that credits therefore lack
--   assets: delivered files
--   share: credits as a share of all credits of the month, 0 to 1
--   credits_month_before: credits of the model in the month before; null where it had no job then
--   change: credits over credits_month_before, less 1: 0.5 is half as much again; null where that was nothing, or where one of both is not held in full
with monthly as (
    select
        cast(date_trunc('month', day) as date) as month,
        model,
        max(modality) as modality,
        cast(sum(jobs) as bigint) as jobs,
        cast(sum(finished) as bigint) as finished,
        sum(credits) as credits,
        sum(credits_pending) as credits_pending,
        sum(credits_refund_due) as credits_refund_due,
        sum(credits_refunded) as credits_refunded,
        case
            when min(currency) = max(currency) and sum(jobs_without_price) = 0 then sum(cost)
        end as cost,
        case when min(currency) = max(currency) then max(currency) end as currency,
        cast(sum(jobs_without_price) as bigint) as jobs_without_price,
        cast(sum(jobs_cost_unknown) as bigint) as jobs_cost_unknown,
        cast(sum(assets) as bigint) as assets,
        min(min(day)) over () as first_day
    from reports.daily_spend
    group by cast(date_trunc('month', day) as date), model
),

known as (
    select cast(date_trunc('month', {local_day(least(now(), coalesce(max(started_at), now())))}) as date) as last_month
    from apiframe.sync_runs
)

select
    this.month,
    this.model,
    this.modality,
    this.month >= known.last_month as is_running,
    this.jobs,
    this.finished,
    this.credits,
    this.credits_pending,
    this.credits_refund_due,
    this.credits_refunded,
    this.cost,
    this.currency,
    this.jobs_without_price,
    this.jobs_cost_unknown,
    this.assets,
    {double(this.credits)} / nullif({double(sum(this.credits) over (partition by this.month))}, 0) as share,
    before.credits as credits_month_before,
    case
        when before.month >= before.first_day and this.month < known.last_month
            then {double(this.credits)} / nullif({double(before.credits)}, 0) - 1
    end as change
from monthly as this
cross join known
left join monthly as before
    on before.month = this.month - interval '1 month' and before.model is not distinct from this.model
