-- One row per job and path of its input: id and path are the key.
-- Question: what is spent on which settings, for example on which aspect ratio?
-- A path is the names that lead to a value, with dots between: options.seed. Covers the jobs whose input was read, where
-- sources.apiframe.inputs is set. Each row has all of the job's credits: sum them over one path, never over several.
-- Engine: duckdb (walks the JSON in input)
-- Needs: apiframe.job_inputs, reports.jobs
-- Columns:
--   id: the API's job id
--   path: where in the input the value stands
--   value: the value as text, a list as JSON; null where the input says null. An empty object has no value
--   model: model id; null where the API names none
--   outcome: finished, failed, cancelled or unknown
--   day: day the job was created, in reports.timezone
--   created_at: when the job was created
--   credits: credits spent on the job; null where unknown
with recursive walked as (
    select
        inputs.id,
        field.key as path,
        field.value,
        field.type
    from apiframe.job_inputs as inputs, json_each(inputs.input) as field
    where json_type(inputs.input) = 'OBJECT'
    union all
    select
        walked.id,
        walked.path || '.' || field.key as path,
        field.value,
        field.type
    from walked, json_each(walked.value) as field
    where walked.type = 'OBJECT'
)

select
    walked.id,
    walked.path,
    walked.value ->> '$' as value,
    jobs.model,
    jobs.outcome,
    jobs.day,
    jobs.created_at,
    jobs.credits
from walked
inner join reports.jobs as jobs on walked.id = jobs.id
where walked.type <> 'OBJECT'
