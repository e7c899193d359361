-- One row per day and model: each day from a model's first job to 28 days behind its last, those without a job included.
-- Question: what was expected of a day, and was it unusual?
-- Expected is the median of the means of the last three weeks: one odd week does not count, and a step is the new normal after two.
-- It is multiplied by what this weekday had of the seven days around it (the mean of the last eight, without the highest and the
-- lowest), where that came nearer over the last eight weeks. How far a day is off is told in cube roots of what was spent in jobs'
-- worth (plus 0.3), which vary alike on small and large days (E. Wilson, M. Hilferty: The distribution of chi-square, PNAS 17,
-- 1931). The usual error is that of the last eight weeks, each day against what was expected or against the last week alone,
-- whichever was nearer: a step is no error for long. It is the square of the mean of the roots, which a few odd days hardly move,
-- over 0.676, as for a normal distribution; at least 0.05, and at least what one job more would make.
-- low to high is 1.38 times the usual error to either side, which holds 80 % of the days. A day is beyond its alarm range at 2.5
-- times above what was expected, one in 60 where nothing happens, or 2.8 times below the lowest of the three weeks, one in 150:
-- less is seldom a trouble, and no day is less for others that were more. tests/judge/RESULTS.md shows what comes of these
-- figures, which were found there on half of the accounts.
-- The day that still runs is held against what of it was usually spent by that hour, with the errors of the same hours.
-- Failures are unusual where the chance of so many is below 1 in 30, were the rate the upper end of that of the 28 days before, by
-- the bound of W. Hoeffding (Probability inequalities for sums of bounded random variables, JASA 58, 1963, theorem 1): it holds
-- for few jobs too, where the chance is mostly a tenth of it.
-- Either has to be worth saying: at least checks.min_impact. Three years at most are looked at, up to the last good sync.
-- Needs: apiframe.sync_runs, reports.daily_spend, reports.daily_reliability, reports.jobs, reports.prices, reports.prices_paid
-- Columns:
--   day: day in reports.timezone
--   model: model id; null where the API names none
--   is_running: the day is not over, or was not when the last good sync began: all figures are those up to then
--   is_young: too young to say: less than 42 days after the model's first job
--   actual: credits spent
--   expected: credits that were expected; null where the model is too young, 0 where it is new
--   low: credits that were to be expected at least, but for a tenth of the days; null where the model is too young
--   high: credits that were to be expected at most, but for a tenth of the days
--   deviation: how far the day is from what was expected, as a multiple of the usual error; above 0 where it is more
--   impact: credits above what was expected, below it where negative
--   share_of_day: impact as a share of what was expected of all models on this day, as a whole day
--   cost_impact: impact in money; null where there is no price
--   currency: of the price of the day; null where there is none
--   is_unusual: beyond its alarm range, or a new model, and worth saying
--   is_failing: more jobs failed than chance explains, and that is worth saying
--   reason: above, below, new model, no longer used, new price or failures; null where nothing is unusual
--   ended: jobs that finished or failed
--   failed: jobs that failed
--   failed_expected: failed jobs at the rate of the 28 days before; null where none ended in them
--   failed_impact: what the failed jobs beyond that would have cost, in credits
with known as (
    select
        until,
        {local_day(until)} as today,
        extract(hour from {local_time(until)}) * 60 + extract(minute from {local_time(until)}) as minute
    from (
        select least(now(), coalesce(max(started_at), now())) as until
        from apiframe.sync_runs
    ) as last_sync
),

by_the_hour as (
    select
        jobs.day,
        jobs.model,
        sum({double(jobs.credits)}) as credits
    from reports.jobs
    cross join known
    where
        jobs.created_at >= known.until - interval '30 days' -- of a million jobs, few are then looked at
        and jobs.day between cast(known.today - interval '28 days' as date) and known.today
        and extract(hour from {local_time(jobs.created_at)}) * 60
        + extract(minute from {local_time(jobs.created_at)}) <= known.minute
    group by jobs.day, jobs.model
),

-- A price is new where no other was paid later.
prices_so_far as (
    select
        model,
        first_day,
        max(last_day) over (
            partition by model order by first_day rows between unbounded preceding and 1 preceding
        ) as others_until
    from reports.prices_paid
    where credits > 0
),

new_prices as (
    select model, first_day as day
    from prices_so_far
    where others_until <= first_day
    group by model, first_day
),

spent as (
    select
        daily_spend.day,
        daily_spend.model,
        daily_spend.credits,
        daily_spend.jobs - daily_spend.jobs_cost_unknown as jobs,
        daily_reliability.finished + daily_reliability.failed as ended,
        daily_reliability.failed,
        known.today,
        lead(daily_spend.day) over (partition by daily_spend.model order by daily_spend.day) as next_day
    from reports.daily_spend
    cross join known
    left join reports.daily_reliability
        on daily_spend.day = daily_reliability.day and daily_spend.model is not distinct from daily_reliability.model
    where daily_spend.day between cast(known.today - interval '3 years' as date) and known.today
),

each_day as (
    select
        *,
        {each_day(day, case
            when next_day is null then least(cast(day + interval '28 days' as date), today)
            else cast(next_day - interval '1 day' as date)
        end)} as each_day
    from spent
),

daily as (
    select
        each_day.each_day as day,
        each_day.model,
        case when each_day.each_day = each_day.day then each_day.credits else 0 end as actual,
        case when each_day.each_day = each_day.day then coalesce({double(each_day.credits)}, 0) else 0 end as credits,
        case when each_day.each_day = each_day.day then each_day.jobs else 0 end as jobs,
        case when each_day.each_day = each_day.day then each_day.ended else 0 end as ended,
        case when each_day.each_day = each_day.day then each_day.failed else 0 end as failed,
        coalesce(by_the_hour.credits, 0) as by_the_hour,
        new_prices.day as new_price_on,
        each_day.today,
        each_day.each_day = each_day.today as is_running,
        each_day.next_day is null and each_day.each_day > each_day.day as is_behind_last_job
    from each_day
    left join by_the_hour
        on each_day.each_day = by_the_hour.day and each_day.model is not distinct from by_the_hour.model
    left join new_prices
        on each_day.each_day = new_prices.day and each_day.model is not distinct from new_prices.model
),

weeks as (
    select
        *,
        row_number() over (partition by model order by day) as place,
        min(day) over (partition by model) > min(day) over () + interval '42 days' as came_later,
        avg(credits) over (partition by model order by day rows between 7 preceding and 1 preceding) as week_1,
        avg(credits) over (partition by model order by day rows between 14 preceding and 8 preceding) as week_2,
        avg(credits) over (partition by model order by day rows between 21 preceding and 15 preceding) as week_3,
        credits / nullif(
            avg(credits) over (partition by model order by day rows between 3 preceding and 3 following), 0
        ) as share_of_week,
        coalesce(
            nullif(
                sum(credits) over (partition by model order by day rows between 28 preceding and 1 preceding)
                / nullif(sum(jobs) over (partition by model order by day rows between 28 preceding and 1 preceding), 0),
                0
            ),
            nullif(credits / nullif(jobs, 0), 0),
            1
        ) as per_job,
        sum(ended) over (partition by model order by day rows between 28 preceding and 1 preceding) as ended_before,
        sum(failed) over (partition by model order by day rows between 28 preceding and 1 preceding) as failed_before,
        max(new_price_on) over (partition by model order by day rows between 13 preceding and current row) as new_price,
        coalesce(
            sum(case when day < today and day >= today - interval '28 days' then by_the_hour end) over (partition by model)
            / nullif(sum(
                case when day < today and day >= today - interval '28 days' then credits end
            ) over (partition by model), 0),
            0
        ) as part_by_the_hour
    from daily
),

levels as (
    select
        *,
        case when place > 21 then greatest(least(week_1, week_2), least(greatest(week_1, week_2), week_3)) end as level,
        count(share_of_week) over of_weekday as weekdays,
        sum(share_of_week) over of_weekday
        - min(share_of_week) over of_weekday
        - max(share_of_week) over of_weekday as shares
    from weeks
    window of_weekday as (partition by model, place % 7 order by day rows between 8 preceding and 1 preceding)
),

guesses as (
    select
        *,
        case when weekdays >= 4 then level * shares / (weekdays - 2) else level end as by_weekday,
        cbrt(credits / per_job + 0.3) as root
    from levels
),

errors as (
    select
        *,
        avg(sqrt(abs(root - cbrt(level / per_job + 0.3)))) over eight_weeks as off_by_level,
        avg(sqrt(abs(root - cbrt(by_weekday / per_job + 0.3)))) over eight_weeks as off_by_weekday
    from guesses
    window eight_weeks as (partition by model order by day rows between 56 preceding and 1 preceding)
),

chosen as (
    select
        *,
        case
            when weekdays >= 4 and off_by_weekday < 0.975 * off_by_level then shares / (weekdays - 2) else 1
        end as weekday_share
    from errors
),

roots as (
    select
        *,
        cbrt(level * weekday_share / per_job + 0.3) as whole_root,
        cbrt(week_1 * weekday_share / per_job + 0.3) as lately_root,
        cbrt(level * weekday_share * part_by_the_hour / per_job + 0.3) as part_root,
        cbrt(week_1 * weekday_share * part_by_the_hour / per_job + 0.3) as part_lately_root,
        cbrt(by_the_hour / per_job + 0.3) as root_by_the_hour,
        cbrt(
            least(week_1, week_2, week_3) * weekday_share * case when is_running then part_by_the_hour else 1 end
            / per_job + 0.3
        ) as lowest_root
    from chosen
),

scales as (
    select
        *,
        case when is_running then part_root else whole_root end as expected_root,
        case
            when is_running
                then avg(
                    case
                        when day >= today - interval '28 days' then sqrt(least(
                            abs(root_by_the_hour - part_root), abs(root_by_the_hour - part_lately_root)
                        ))
                    end
                ) over eight_weeks
            else avg(sqrt(least(abs(root - whole_root), abs(root - lately_root)))) over eight_weeks
        end as off
    from roots
    window eight_weeks as (partition by model order by day rows between 56 preceding and 1 preceding)
),

expectations as (
    select
        *,
        place <= 42 as is_young,
        came_later and place <= 14 as is_new,
        case
            when came_later and place <= 14 then 0
            when place > 42 then level * weekday_share * case when is_running then part_by_the_hour else 1 end
        end as expected,
        case when place > 42 then greatest(
            0.05, off * off / 0.676, cbrt(power(expected_root, 3) + 1) - expected_root
        ) end as scale,
        sum(case when came_later and place <= 14 then 0 else coalesce(level * weekday_share, week_1) end)
            over (partition by day) as of_all_models,
        {double(failed_before)} / nullif(ended_before, 0) * ended as failed_expected,
        {wilson_high(failed_before, (ended_before - failed_before))} * ended as failed_at_most
    from scales
),

judged as (
    select
        *,
        (root - expected_root) / scale as deviation,
        credits - expected as impact,
        (failed - failed_expected) * per_job as failed_impact,
        case
            when failed > failed_at_most and failed_at_most < ended
                then failed * ln(failed / failed_at_most)
                + (ended - failed) * ln(greatest(ended - failed, 1) / (ended - failed_at_most))
            else 0
        end as failures_against_chance
    from expectations
),

said as (
    select
        *,
        (is_new or deviation > 2.5 or root < lowest_root - 2.8 * scale) and {worth_saying(impact, of_all_models)} as is_unusual,
        failures_against_chance > ln(30e0) and {worth_saying(failed_impact, of_all_models)} as is_failing
    from judged
)

select
    said.day,
    said.model,
    said.is_running,
    said.is_young,
    said.actual,
    {estimate(said.expected)} as expected,
    {estimate(said.per_job * (
        power(case when said.expected_root - 1.38 * said.scale < cbrt(0.3e0) then cbrt(0.3e0)
            else said.expected_root - 1.38 * said.scale end, 3) - 0.3
    ))} as low,
    {estimate(said.per_job * (power(said.expected_root + 1.38 * said.scale, 3) - 0.3))} as high,
    said.deviation,
    {estimate(said.impact)} as impact,
    said.impact / nullif(said.of_all_models, 0) as share_of_day,
    {cost({estimate(said.impact)}, prices.price_per_credit)} as cost_impact,
    prices.currency,
    coalesce(said.is_unusual, false) as is_unusual,
    coalesce(said.is_failing, false) as is_failing,
    case
        when said.is_unusual and said.is_new then 'new model'
        when
            said.is_unusual
            and said.new_price is not null
            and 2 * (said.credits - said.jobs * said.per_job) / nullif(said.impact, 0) >= 1
            then 'new price'
        when said.is_unusual and said.is_behind_last_job and not said.is_running then 'no longer used'
        when said.is_unusual and said.impact > 0 then 'above'
        when said.is_unusual then 'below'
        when said.is_failing then 'failures'
    end as reason,
    said.ended,
    said.failed,
    said.failed_expected,
    {estimate(said.failed_impact)} as failed_impact
from said
left join reports.prices
    on said.day >= prices.valid_from and (said.day < prices.valid_until or prices.valid_until is null)
