-- One row per model and credits that a finished job cost.
-- Question: what does a model charge, since when, and does that lie in the range of the catalogue?
-- Ordered by first_day, the rows of a model show how its price has changed; a model whose cost scales with what is asked has many
-- at one time. The catalogue's range is the one that was read last: what was paid before a change may lie outside.
-- Needs: reports.jobs, apiframe.models
-- Columns:
--   model: model id; null where the API names none
--   modality: image, video or music
--   credits: what each of these jobs cost; null where unknown
--   jobs: finished jobs that cost as much
--   first_day: day the first of them was created, in reports.timezone
--   last_day: day the last of them was created
--   pricing_mode: how the catalogue prices the model; null where it does not list it
--   cost_min: the least that a job costs by the catalogue; null where it does not tell
--   cost_max: the most that a job costs by the catalogue; null where it does not tell
--   against_catalogue: below, within or above the range; null where credits or the ends that would tell are unknown
with catalogue as (
    select
        id,
        max(pricing_mode) as pricing_mode,
        min(cost_min) as cost_min,
        max(cost_max) as cost_max
    from apiframe.models
    group by id
),

paid as (
    select
        model,
        credits,
        max(modality) as modality,
        count(*) as jobs,
        min(day) as first_day,
        max(day) as last_day
    from reports.jobs
    where is_finished
    group by model, credits
)

select
    paid.model,
    paid.modality,
    paid.credits,
    paid.jobs,
    paid.first_day,
    paid.last_day,
    catalogue.pricing_mode,
    catalogue.cost_min,
    catalogue.cost_max,
    case
        when paid.credits < catalogue.cost_min then 'below'
        when paid.credits > catalogue.cost_max then 'above'
        when paid.credits >= catalogue.cost_min and paid.credits <= catalogue.cost_max then 'within'
    end as against_catalogue
from paid
left join catalogue on paid.model = catalogue.id
