-- Files in the order in which a result lists them: a bare address, images, videoUrl, videos, tracks.
-- Postgres has no text with NUL: what the API wrote as \u0000 becomes a replacement character.
with parsed as (
    select
        *,
        case
            when cast(result as text) like '%\\u0000%'
            then cast(regexp_replace(cast(result as text), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g') as json)
            else result
        end as shape
    from apiframe.jobs
    where result is not null
),

files as (
    select
        parsed.id,
        parsed.model,
        parsed.modality,
        parsed.expired,
        parsed.created_at,
        file.kind,
        file.url,
        file.title,
        file.duration,
        row_number() over (partition by parsed.id order by file.part, file.place) as position
    from parsed
    cross join lateral (
        select 1 as part, 1 as place, null as kind, shape #>> '{}' as url, null as title, null as duration
        where json_typeof(shape) = 'string'
        union all
        select 2, place, 'image', url, null, null
        from json_array_elements_text(
            case when json_typeof(shape -> 'images') = 'array' then shape -> 'images' end
        ) with ordinality as listed (url, place)
        union all
        select 3, 1, 'video', shape ->> 'videoUrl', null, null
        where shape ->> 'videoUrl' is not null
        union all
        select 4, place, 'video', url, null, null
        from json_array_elements_text(
            case when json_typeof(shape -> 'videos') = 'array' then shape -> 'videos' end
        ) with ordinality as listed (url, place)
        union all
        select
            5,
            place,
            'music',
            track ->> 'audioUrl',
            track ->> 'title',
            case when json_typeof(track -> 'duration') = 'number' then track ->> 'duration' end
        from json_array_elements(
            case when json_typeof(shape -> 'tracks') = 'array' then shape -> 'tracks' end
        ) with ordinality as listed (track, place)
    ) as file
),

catalogue as (
    select id, max(modality) as modality
    from apiframe.models
    group by id
)

select
    files.id as job_id,
    cast(files.position as integer) as position,
    files.model,
    coalesce(files.kind, catalogue.modality, files.modality) as kind,
    files.url,
    files.title,
    cast(files.duration as double precision) as duration_s,
    files.expired as is_expired,
    {local_day(files.created_at)} as day,
    files.created_at
from files
left join catalogue on files.model = catalogue.id
where files.url is not null
