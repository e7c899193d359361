-- One row per delivered file: job_id and position are the key.
-- Question: which files were delivered, and can they still be fetched?
-- Covers a result that is an address, or holds images, videoUrl, videos or tracks; a grid of the images and the cover of a
-- track are not counted. Filter on created_at rather than day where speed matters: only created_at reaches the table.
-- Engine: duckdb (unnests the JSON in result)
-- Needs: apiframe.jobs, apiframe.models
-- Columns:
--   job_id: the job that made it
--   position: 1 for the first file of the job
--   model: model id
--   kind: image, video or music; the job's modality where the result is a bare address
--   url: where the file is, or was
--   title: title of a track
--   duration_s: length of a track in seconds
--   is_expired: the API has deleted it
--   day: day the job was created, in reports.timezone
--   created_at: when the job was created
with catalogue as (
    select id, max(modality) as modality
    from apiframe.models
    group by id
),

parsed as (
    select
        jobs.*,
        coalesce(catalogue.modality, jobs.modality) as job_kind,
        {local_day(jobs.created_at)} as day,
        from_json(
            jobs.result,
            '{"images": ["VARCHAR"], "videoUrl": "VARCHAR", "videos": ["VARCHAR"],
              "tracks": [{"audioUrl": "VARCHAR", "title": "VARCHAR", "duration": "DOUBLE"}]}'
        ) as shape
    from apiframe.jobs
    left join catalogue on jobs.model = catalogue.id
    where jobs.result is not null
),

listed as (
    select
        *,
        list_concat(
            case
                when json_type(result) = 'VARCHAR'
                then [{'kind': null::varchar, 'url': result ->> '$', 'title': null::varchar, 'duration': null::double}]
            end,
            list_transform(
                shape.images,
                lambda u: {'kind': 'image', 'url': u, 'title': null::varchar, 'duration': null::double}
            ),
            case
                when shape.videoUrl is not null
                then [{'kind': 'video', 'url': shape.videoUrl, 'title': null::varchar, 'duration': null::double}]
            end,
            list_transform(
                shape.videos,
                lambda u: {'kind': 'video', 'url': u, 'title': null::varchar, 'duration': null::double}
            ),
            list_transform(
                shape.tracks,
                lambda t: {'kind': 'music', 'url': t.audioUrl, 'title': t.title, 'duration': t.duration}
            )
        ) as files
    from parsed
),

files as (
    select
        id,
        model,
        job_kind,
        expired,
        day,
        created_at,
        unnest(files) as file,
        generate_subscripts(files, 1) as position
    from listed
)

select
    id as job_id,
    cast(position as integer) as position,
    model,
    coalesce(file.kind, job_kind) as kind,
    file.url as url,
    file.title as title,
    file.duration as duration_s,
    expired as is_expired,
    day,
    created_at
from files
where file.url is not null
