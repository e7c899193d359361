-- One row per delivered file: job_id and position are the key.
-- Question: which files were delivered, and can they still be fetched?
-- Covers a result that is an address, or holds images, videoUrl, videos or tracks; a grid of the images and the cover of a
-- track are not counted. Filter on created_at rather than day where speed matters: only created_at reaches the table.
-- Engine: duckdb (unnests the JSON in result)
-- Needs: apiframe.jobs, reports.jobs
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
with parsed as (
    select
        id,
        created_at,
        result,
        from_json(
            result,
            '{"images": ["VARCHAR"], "videoUrl": "VARCHAR", "videos": ["VARCHAR"],
              "tracks": [{"audioUrl": "VARCHAR", "title": "VARCHAR", "duration": "DOUBLE"}]}'
        ) as shape
    from apiframe.jobs
    where result is not null
),

listed as (
    select
        id,
        created_at,
        list_concat(
            case
                when json_type(result) = 'VARCHAR'
                then [{'kind': cast(null as varchar), 'url': result ->> '$', 'title': cast(null as varchar), 'duration': cast(null as double)}]
            end,
            list_transform(shape.images, lambda u: {'kind': 'image', 'url': u, 'title': cast(null as varchar), 'duration': cast(null as double)}),
            case
                when shape.videoUrl is not null
                then [{'kind': 'video', 'url': shape.videoUrl, 'title': cast(null as varchar), 'duration': cast(null as double)}]
            end,
            list_transform(shape.videos, lambda u: {'kind': 'video', 'url': u, 'title': cast(null as varchar), 'duration': cast(null as double)}),
            list_transform(shape.tracks, lambda t: {'kind': 'music', 'url': t.audioUrl, 'title': t.title, 'duration': t.duration})
        ) as files
    from parsed
),

files as (
    select
        id,
        created_at,
        unnest(files) as file,
        generate_subscripts(files, 1) as position
    from listed
)

select
    files.id as job_id,
    files.position,
    jobs.model,
    coalesce(files.file.kind, jobs.modality) as kind,
    files.file.url as url,
    files.file.title as title,
    files.file.duration as duration_s,
    jobs.is_expired,
    jobs.day,
    jobs.created_at
from files
inner join reports.jobs on files.id = jobs.id
where files.file.url is not null
