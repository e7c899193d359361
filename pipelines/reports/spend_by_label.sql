-- One row per label, value and calendar month: the month the jobs were created.
-- Question: what was spent for whom, and what for nobody that is known?
-- What has no value of the label is a row of its own, value null, in each month, even where it is nothing: over one label, the
-- credits of a month add up to those of reports.jobs. Over several labels they do not: each tells of every job.
-- Needs: reports.labelled_jobs
-- Columns:
--   label: what is told of jobs, for example project
--   value: its value; null for the jobs that have none
--   month: first day of the month in reports.timezone
--   jobs: jobs created, whatever became of them
--   credits: credits spent; null where the cost of every job is unknown
--   credits_pending: credits of jobs that are still open
--   credits_refund_due: credits among them that failed jobs cost still
--   cost: credits in money, exact; null where some of them have no price, or prices of two currencies
--   currency: of the month's prices; null where there is none, or more than one
--   jobs_without_price: jobs that cost credits on a day without a price
--   jobs_cost_unknown: jobs whose cost is unknown, and that credits therefore lack
--   jobs_in_conflict: jobs for which the user's file gives other values too, that do not count
--   share: credits as a share of all credits of the month, 0 to 1
with counted as (
    select
        label,
        value,
        cast(date_trunc('month', day) as date) as month,
        count(*) as jobs,
        sum(credits) as credits,
        sum(credits_pending) as credits_pending,
        sum(credits_refund_due) as credits_refund_due,
        case
            when min(currency) = max(currency) and sum(case when credits <> 0 and cost is null then 1 else 0 end) = 0
                then sum(cost)
        end as cost,
        case when min(currency) = max(currency) then max(currency) end as currency,
        sum(case when credits <> 0 and cost is null then 1 else 0 end) as jobs_without_price,
        sum(case when is_cost_unknown then 1 else 0 end) as jobs_cost_unknown,
        sum(case when other_values > 0 then 1 else 0 end) as jobs_in_conflict
    from reports.labelled_jobs
    group by label, value, cast(date_trunc('month', day) as date)
),

whole as (
    select * from counted
    union all
    select label, null, month, 0, 0, 0, 0, null, null, 0, 0, 0
    from counted
    group by label, month
    having count(*) = count(value)
)

select
    label,
    value,
    month,
    jobs,
    credits,
    credits_pending,
    credits_refund_due,
    cost,
    currency,
    cast(jobs_without_price as bigint) as jobs_without_price,
    cast(jobs_cost_unknown as bigint) as jobs_cost_unknown,
    cast(jobs_in_conflict as bigint) as jobs_in_conflict,
    {double(credits)} / nullif({double(sum(credits) over (partition by label, month))}, 0) as share
from whole
