-- Postgres has no text with NUL: what the API wrote as \u0000 becomes a replacement character.
with recursive readable as (
    select
        id,
        case
            when cast(input as text) like '%\\u0000%'
            then cast(regexp_replace(cast(input as text), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g') as json)
            else input
        end as input
    from apiframe.job_inputs
),

walked as (
    select
        readable.id,
        field.key as path,
        field.value
    from readable
    cross join lateral json_each(
        case when json_typeof(readable.input) = 'object' then readable.input end
    ) as field
    union all
    select
        walked.id,
        walked.path || '.' || field.key as path,
        field.value
    from walked
    cross join lateral json_each(
        case when json_typeof(walked.value) = 'object' then walked.value end
    ) as field
)

select
    walked.id,
    walked.path,
    walked.value #>> '{}' as value,
    jobs.model,
    jobs.outcome,
    jobs.day,
    jobs.created_at,
    jobs.credits
from walked
inner join reports.jobs as jobs on walked.id = jobs.id
where json_typeof(walked.value) <> 'object'
