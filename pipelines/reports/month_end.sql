-- One row per model, and one of all jobs (is_total), of the calendar month up to which jobs are known.
-- Question: how will the month end?
-- The month is that of the last good sync. A day to come is expected to cost the mean of its weekday in the last four weeks;
-- where the last seven days stand out from them, by three standard errors, the weekdays keep their proportions and a week costs
-- what the last one did. The range is as wide as the last eight weeks lay from that. The row of all jobs is judged by its own
-- days, so its rest need not be the sum of the models'. A model counts that was used in the month or in the 28 days before today.
-- What has been spent is exact; what is expected is about, and in money at today's price. Jobs of unknown cost are left out.
-- Needs: reports.daily_spend, reports.prices, apiframe.sync_runs
-- Columns:
--   month: first day of the month in reports.timezone
--   model: model id; null where the API names none, and in the row of all jobs
--   is_total: the row of all jobs
--   days_gone: whole days of the month that are over
--   so_far: credits spent in the month
--   expected_rest: credits that the rest of it is expected to cost; null while history is young
--   total: so_far and expected_rest
--   low: lower end of the 80 % range of the total
--   high: upper end
--   cost_so_far: so_far in money, exact; null where some of it has no price, or prices of two currencies
--   cost_total: total in money; null where cost_so_far is, or today's price is in another currency
--   cost_low: lower end of its 80 % range
--   cost_high: upper end
--   currency: of cost_so_far and the others
--   paced_by_days: days whose pace is taken to go on: 28, fewer while history is young, 7 where the last week stands out
--   is_young: fewer than 7 whole days are known
--   jobs_cost_unknown: jobs of the month whose cost is unknown
with known as (
    select {local_time(coalesce(max(started_at), now()))} as moment
    from apiframe.sync_runs
),

today as (
    select
        cast(moment as date) as day,
        cast(date_trunc('month', moment) as date) as month,
        cast(date_trunc('month', moment) + interval '1 month' as date) as until,
        1 - {double(60 * extract(hour from moment) + extract(minute from moment))} / 1440 as left_of_it
    from known
),

seven as (
    select 0 as n
    union all select 1
    union all select 2
    union all select 3
    union all select 4
    union all select 5
    union all select 6
),

-- The 56 days before today, by week and by weekday, the newest first; and the days to come by weekday, in the same order.
past as (
    select
        7 * weeks.week + seven.n + 1 as age,
        weeks.week,
        6 - seven.n as weekday,
        cast(today.day - (7 * weeks.week + seven.n + 1) * interval '1 day' as date) as day
    from (select n as week from seven union all select 7) as weeks
    cross join seven
    cross join today
),

coming as (
    select
        days.n as weekday,
        sum(case when weeks.n = 0 and days.n = 0 then today.left_of_it else 1 end) as days
    from seven as weeks
    cross join seven as days
    cross join today
    where today.day + (7 * weeks.n + days.n) * interval '1 day' < today.until
    group by days.n
),

spent as (
    select
        day,
        model,
        grouping(model) = 1 as is_total,
        coalesce(sum(credits), 0) as credits,
        sum(cost) as cost,
        min(currency) as first_currency,
        max(currency) as last_currency,
        sum(jobs_without_price) as jobs_without_price,
        sum(jobs_cost_unknown) as jobs_cost_unknown
    from reports.daily_spend
    group by grouping sets ((day, model), (day))
),

months as (
    select
        spent.is_total,
        spent.model,
        min(spent.day) as first_day,
        max(spent.day) as last_day,
        coalesce(sum(case when spent.day >= today.month then spent.credits end), 0) as so_far,
        coalesce(sum(case when spent.day >= today.month then spent.cost end), 0) as cost,
        min(case when spent.day >= today.month then spent.first_currency end) as first_currency,
        max(case when spent.day >= today.month then spent.last_currency end) as last_currency,
        coalesce(sum(case when spent.day >= today.month then spent.jobs_without_price end), 0) as jobs_without_price,
        coalesce(sum(case when spent.day >= today.month then spent.jobs_cost_unknown end), 0) as jobs_cost_unknown
    from spent
    cross join today
    where spent.day < today.until
    group by spent.is_total, spent.model
),

-- A row per model and day, one without jobs too. The first day of all may be no whole one.
history as (
    select
        months.is_total,
        months.model,
        past.age,
        past.week,
        past.weekday,
        {double(coalesce(spent.credits, 0))} as credits,
        count(*) over (partition by months.is_total, months.model) as known
    from months
    inner join past on months.first_day < past.day
    left join spent
        on past.day = spent.day
        and months.is_total = spent.is_total
        and months.model is not distinct from spent.model
),

-- In whole weeks where there are two, and what they tell beside each day: one pass, for engines that write out each use of a step.
days as (
    select
        is_total,
        model,
        age,
        weekday,
        credits,
        case when known < 14 then age else week end as block,
        case when known < 14 then 1 else 7 end as size,
        least(known - case when known < 14 then 0 else known % 7 end, 28) as pace_days,
        lead(credits) over (partition by is_total, model, weekday order by age) as week_before
    from history
    where known >= 7 and age <= known - case when known < 14 then 0 else known % 7 end
),

paces as (
    select
        *,
        avg(case when age <= pace_days then credits end) over (partition by is_total, model) as mean,
        avg(case when age <= 7 then credits end) over (partition by is_total, model) as last_week,
        avg(case when age <= pace_days - 7 then (credits - week_before) * (credits - week_before) end)
            over (partition by is_total, model)
        / 2 as chance,
        avg(case when age <= pace_days then credits end)
            over (partition by is_total, model, case when size = 7 then weekday end)
        as of_weekday,
        sum(credits) over (partition by is_total, model, block) as of_block,
        size * avg(credits) over (partition by is_total, model) as of_any_block
    from days
),

judged as (
    select
        *,
        pace_days >= 14
        and (last_week - mean) * (last_week - mean)
        > 9 * chance * (1 / {double(7)} - 1 / {double(pace_days)}) + mean * mean / {double(1000000)} / 1000000 as is_new
    from paces
),

-- What is new would count as chance in every week before it.
summed as (
    select
        judged.is_total,
        judged.model,
        max(case when judged.is_new then 7 else judged.pace_days end) as paced_by_days,
        sum(case when judged.age <= 7 then judged.of_weekday * coming.days end)
        * max(case when judged.is_new then judged.last_week / judged.mean else 1 end) as credits,
        sum(case when judged.age <= 7 then coming.days end) as days,
        count(*) / max(judged.size) - 1 as freedom,
        sum(
            (judged.of_block - case when judged.is_new then judged.of_any_block else judged.size * judged.mean end)
            * (judged.of_block - case when judged.is_new then judged.of_any_block else judged.size * judged.mean end)
        ) / max(judged.size) / max(judged.size) as squares
    from judged
    left join coming on judged.weekday = coming.weekday
    group by judged.is_total, judged.model
),

expected as (
    select
        *,
        -- Student's t, 90 %: a tenth lies beyond, on either side.
        case freedom
            when 1 then 3.078
            when 2 then 1.886
            when 3 then 1.638
            when 4 then 1.533
            when 5 then 1.476
            when 6 then 1.440
            when 7 then 1.415
            when 8 then 1.397
            when 9 then 1.383
            when 10 then 1.372
            when 11 then 1.363
            else 1.356
        end * sqrt(squares / freedom * (days + days * days / paced_by_days)) as off
    from summed
),

priced as (
    select
        months.*,
        prices.currency as todays_currency,
        {double(prices.price_per_credit)} as price,
        case
            when coalesce(months.first_currency, prices.currency) = coalesce(months.last_currency, prices.currency)
            and months.jobs_without_price = 0
                then coalesce(months.first_currency, prices.currency)
        end as currency
    from months
    cross join today
    left join reports.prices
        on today.day >= prices.valid_from and (today.day < prices.valid_until or prices.valid_until is null)
    where months.last_day >= today.month or months.last_day >= today.day - interval '28 days'
)

select
    today.month,
    priced.model,
    priced.is_total,
    cast(extract(day from today.day) as integer) - 1 as days_gone,
    priced.so_far,
    expected.credits as expected_rest,
    {double(priced.so_far)} + expected.credits as total,
    {double(priced.so_far)} + expected.credits - least(expected.off, expected.credits) as low,
    {double(priced.so_far)} + expected.credits + expected.off as high,
    case when priced.currency is not null then priced.cost end as cost_so_far,
    case when priced.currency = priced.todays_currency then {double(priced.cost)} + expected.credits * priced.price end
    as cost_total,
    case
        when priced.currency = priced.todays_currency
            then {double(priced.cost)} + (expected.credits - least(expected.off, expected.credits)) * priced.price
    end as cost_low,
    case
        when priced.currency = priced.todays_currency
            then {double(priced.cost)} + (expected.credits + expected.off) * priced.price
    end as cost_high,
    priced.currency,
    cast(expected.paced_by_days as integer) as paced_by_days,
    expected.credits is null as is_young,
    cast(priced.jobs_cost_unknown as bigint) as jobs_cost_unknown
from priced
cross join today
left join expected on priced.is_total = expected.is_total and priced.model is not distinct from expected.model
