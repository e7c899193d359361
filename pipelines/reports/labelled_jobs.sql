-- One row per job and label, also where the job has no value of it.
-- Question: who was a job for, and who says so?
-- Labels are those that the user's file (.dlt/labels.csv, or what reports.labels_from names) and rules
-- (.dlt/label_rules.csv) know. The file comes before the rules, of its lines the first counts, of the rules of a label the
-- first that the job meets. A job has at most one value of a label, so what is summed up over one label is the whole.
-- Needs: reports.jobs, apiframe.labels
-- Columns:
--   id: the API's job id
--   label: what is told of the job, for example project
--   value: its value for this job; null where neither file nor rules give one
--   given_by: file or rule; null where there is no value
--   other_values: other values that the file gives the job, and that do not count
--   day: day of created_at in reports.timezone
--   created_at: when the job was created
--   model: model id as the API names it; null where it names none
--   modality: image, video or music
--   outcome: finished, failed, cancelled, open or unknown
--   credits: credits spent, as in reports.jobs; null where unknown
--   credits_pending: credits of an open job, as in reports.jobs
--   credits_refund_due: credits that a failed job costs still, as in reports.jobs
--   cost: credits in money, as in reports.jobs; null where they are unknown or have no price
--   currency: of the price of the day; null where there is none
--   is_cost_unknown: the job's cost is unknown, and credits therefore null
with known as (
    select label from apiframe.labels
    union
    select label from {labels_of_rules()} as rules
),

-- In lower case once, not in every rule.
lowered as (
    select
        id,
        created_at,
        day,
        lower(model) as model,
        lower(modality) as modality,
        lower(error) as error,
        lower(scope) as scope,
        model as named_model,
        modality as named_modality,
        outcome,
        credits,
        credits_pending,
        credits_refund_due,
        cost,
        currency,
        is_cost_unknown
    from reports.jobs
),

ruled as (
    select
        lowered.*,
        known.label,
        given.value as given_value,
        coalesce(given.other_values, 0) as other_values,
        {label_by_rule(known.label)} as rule_value
    from lowered
    cross join known
    left join apiframe.labels as given on lowered.id = given.job_id and known.label = given.label
    left join {inputs_for_rules()} as inputs on lowered.id = inputs.id
)

select
    id,
    label,
    coalesce(given_value, rule_value) as value,
    case when given_value is not null then 'file' when rule_value is not null then 'rule' end as given_by,
    other_values,
    day,
    created_at,
    named_model as model,
    named_modality as modality,
    outcome,
    credits,
    credits_pending,
    credits_refund_due,
    cost,
    currency,
    is_cost_unknown
from ruled
