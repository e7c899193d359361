-- One row per episode: days that follow each other, on each of which some model was unusual in the same way.
-- Question: what was out of the ordinary, since when, on which model, and what did it cost?
-- What is unusual is reports.daily_expected's to say. It is news once: what goes on for two weeks is what is expected then.
-- Needs: reports.daily_expected
-- Columns:
--   first_day: day of the first of them, in reports.timezone
--   last_day: day of the last of them; where that day still runs, figures are those up to the last good sync
--   kind: above or below what was expected, or failures
--   reason: above, below, new model, no longer used, new price or failures: what is said of the model on its worst day
--   model: the model that explains most of it; null where the API names none
--   days: on how many of these days that model was unusual so
--   models: how many models were
--   actual: what that model spent on its unusual days, in credits; its failed jobs where kind is failures
--   expected: what was expected of it on these days
--   impact: credits above what was expected of all of these models, below it where negative; of failures, what the jobs beyond the expected would have cost
--   cost_impact: impact in money; null for failures, without a price, or with two currencies
--   currency: of the price; null where there is none, or more than one
with marked as (
    select
        daily_expected.day,
        daily_expected.model,
        case
            when kinds.is_of_failures then 'failures' when daily_expected.impact > 0 then 'above' else 'below'
        end as kind,
        case when kinds.is_of_failures then 'failures' else daily_expected.reason end as reason,
        case when kinds.is_of_failures then daily_expected.failed else daily_expected.actual end as actual,
        case when kinds.is_of_failures then daily_expected.failed_expected else {double(daily_expected.expected)} end as expected,
        case when kinds.is_of_failures then daily_expected.failed_impact else daily_expected.impact end as impact,
        case when not kinds.is_of_failures then daily_expected.cost_impact end as cost_impact,
        daily_expected.currency
    from reports.daily_expected
    cross join (select true as is_of_failures union all select false as is_of_failures) as kinds
    where
        (kinds.is_of_failures and daily_expected.is_failing)
        or (not kinds.is_of_failures and daily_expected.is_unusual)
),

begun as (
    select
        *,
        case when day <= lag(day) over (partition by kind order by day) + interval '1 day' then 0 else 1 end as begins
    from marked
),

episodes as (
    select
        *,
        sum(begins) over (partition by kind order by day) as episode
    from begun
),

by_model as (
    select
        *,
        sum(impact) over (partition by kind, episode, model) as of_model
    from episodes
),

ranked as (
    select
        *,
        dense_rank() over (partition by kind, episode order by abs(of_model) desc, model) as model_rank,
        row_number() over (partition by kind, episode order by abs(of_model) desc, model, abs(impact) desc, day) as row_rank
    from by_model
)

select
    min(day) as first_day,
    max(day) as last_day,
    kind,
    max(case when row_rank = 1 then reason end) as reason,
    max(case when model_rank = 1 then model end) as model,
    count(distinct case when model_rank = 1 then day end) as days,
    max(model_rank) as models,
    sum(case when model_rank = 1 then actual end) as actual,
    {estimate(sum(case when model_rank = 1 then expected end))} as expected,
    sum(impact) as impact,
    case when count(cost_impact) = count(*) and min(currency) = max(currency) then sum(cost_impact) end as cost_impact,
    case when min(currency) = max(currency) then max(currency) end as currency
from ranked
group by kind, episode
