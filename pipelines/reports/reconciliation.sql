-- One row per pair of readings of the account's balance that follow one another, newest first; closed_at is the key.
-- Question: do the credits of the jobs add up with the account's balance, and if not, by how much and why?
-- Credits are taken when a job is created and given back when the API takes its cost away. Readings that failed are passed
-- over. What lies within the seconds around a reading may belong to either side, and so may a refund that the sync of a
-- reading saw: it came before that sync, perhaps after the reading. It is counted on the side on which both pairs add up.
-- Verdicts: balances; top-up, credits came in, by a plan's renewal too; refund missing, a job was given back credits that
-- the balance never got; charge without a job, more was taken than jobs cost; cannot tell, and why says between what.
-- Of two explanations none is taken, with one exception: a loss of exactly what a job was given back is that refund, though
-- a second charge of the same size would look alike. A loss is told once the next reading has confirmed it. With scope user
-- colleagues' jobs are not seen, so that scope team tells more. What maintain has deleted of job_changes is forgotten here.
-- Engine: duckdb, postgres (Spark writes out each use of a step, and takes minutes to plan it)
-- Needs: apiframe.balances, apiframe.sync_runs, apiframe.jobs, apiframe.job_changes
-- Columns:
--   opened_at: when the opening balance was read
--   closed_at: when the closing balance was read
--   account: whose credits these are
--   scope: team where the jobs of the whole team were read with both readings, else user
--   plan: the plan at the closing reading, as the API names it
--   opening_credits: the balance at opened_at
--   closing_credits: the balance at closed_at
--   change: closing_credits less opening_credits
--   jobs: jobs created in between
--   charged: credits that were taken for them, as far as a sync saw; 0 for a job that was first seen when it cost nothing
--   given_back: credits that jobs, also older ones, were seen to be given back in between
--   expected_change: given_back less charged, as the times alone tell
--   moved: what jobs around a reading add to it, where they belong to the other side
--   residual: change less expected_change and moved; 0 where the books balance
--   tolerance: credits of the jobs around both readings whose side cannot be told by the times
--   jobs_cost_unknown: jobs created in between for which the API gives no cost, and that charged therefore lacks
--   refunds_due: credits that failed jobs, created in between, cost still
--   verdict: balances, top-up, refund missing, charge without a job or cannot tell
--   top_up_at_least: the least that came in, where the verdict is top-up; 0 otherwise
--   refund_jobs: ids of the jobs whose missing refund would explain the residual, at most ten; null where there are none
--   why: what explains the residual, or between which explanations nothing decides; null where the books balance
with moments as (
    select
        read_at as moment,
        0 as is_run,
        account,
        plan,
        credits,
        coalesce(latest_at, read_at) as latest_at,
        null as scope,
        null as finished_at
    from apiframe.balances
    where credits is not null
    union all
    select started_at, 1, null, null, null, null, scope, finished_at from apiframe.sync_runs
),

-- A reading is stored with the sync that took it, whose row therefore comes next.
followed as (
    select
        *,
        lead(is_run) over (order by moment, is_run) as next_is_run,
        lead(scope) over (order by moment, is_run) as next_scope,
        lead(finished_at) over (order by moment, is_run) as next_finished_at
    from moments
),

-- The API's clock has whole seconds: a job of the second of the reading counts as created before it.
readings as (
    select
        row_number() over (order by moment) as place,
        moment,
        account,
        plan,
        credits,
        next_scope as scope,
        next_finished_at as jobs_read_at,
        moment + interval '1 second' as cut,
        moment - interval '1 second' as edge_from,
        latest_at + interval '2 second' as edge_to,
        {seconds(moment, latest_at)} > 60 as is_clock_unsure
    from followed
    where is_run = 0 and next_is_run = 1
),

changes as (
    select
        id,
        field,
        seen_at,
        cast(case when field = 'credit_cost' then before end as decimal(18, 4)) as before,
        cast(case when field = 'credit_cost' then after end as decimal(18, 4)) as after,
        row_number() over (partition by id, field order by seen_at) as turn,
        max(case when field = 'status' then 1 else 0 end) over (partition by id, seen_at) as has_ended
    from apiframe.job_changes
    where field in ('credit_cost', 'status', 'delisted')
),

taken as (
    select
        jobs.id,
        jobs.model,
        jobs.status,
        jobs.created_at,
        jobs.credit_cost,
        case when changes.id is null then jobs.credit_cost else coalesce(changes.before, changes.after) end as credits,
        case
            when jobs.status = 'FAILED' or jobs.delisted_at is not null and jobs.status in ('QUEUED', 'PROCESSING')
                then jobs.credit_cost
        end as due
    from apiframe.jobs as jobs
    left join changes on jobs.id = changes.id and changes.field = 'credit_cost' and changes.turn = 1
),

timeline as (
    select id, model, status, created_at, credit_cost, credits, due, created_at as moment, 0 as is_reading
    from taken
    where created_at >= (select min(edge_from) from readings) or due > 0
    union all
    select null, null, null, null, null, null, null, cut, 1 from readings
),

-- `place` is how many readings were taken before.
placed as (
    select *, sum(is_reading) over (order by moment, is_reading rows between unbounded preceding and current row) as place
    from timeline
),

runs as (
    select mode, finished_at, row_number() over (order by finished_at) as turn from apiframe.sync_runs
),

sights as (
    select id, field, before, after, has_ended, seen_at as moment, 0 as is_reading, 0 as is_run from changes
    union all
    select null, null, null, null, null, jobs_read_at, 1, 0 from readings
    union all
    select null, null, null, null, null, finished_at, 0, 1 from runs
),

-- What the sync of a reading saw counts as before the reading.
seen as (
    select
        *,
        sum(is_reading) over (order by moment, is_reading + is_run rows between unbounded preceding and current row) as place,
        sum(is_run) over (order by moment, is_reading + is_run rows between unbounded preceding and current row) as syncs
    from sights
),

-- A job that had ended is not looked at for ever: what a full sync sees of it may have come long before.
flows as (
    select
        seen.id,
        seen.place,
        seen.moment,
        case when seen.before is null then 0 else seen.before - coalesce(seen.after, 0) end as credits,
        seen.after is null and coalesce(jobs.status, '') not in ('FAILED', 'CANCELLED') as is_unknown,
        coalesce(runs.mode, '') <> 'incremental' and seen.has_ended = 0
        and coalesce(jobs.completed_at, jobs.created_at) < readings.moment as is_late
    from seen
    inner join readings on seen.place = readings.place
    left join apiframe.jobs as jobs on seen.id = jobs.id
    left join runs on seen.syncs + 1 = runs.turn
    where seen.field = 'credit_cost'
),

job_sums as (
    select
        place,
        count(*) as jobs,
        sum(credits) as charged,
        sum(case when credits is null and coalesce(status, '') <> 'FAILED' then 1 else 0 end) as jobs_cost_unknown,
        sum(case when status = 'FAILED' then credit_cost end) as refunds_due,
        sum(due) as due,
        min(case when due > 0 then due end) as least_due
    from placed
    where id is not null
    group by place
),

flow_sums as (
    select
        place,
        sum(case when not is_late then credits end) as given_back,
        sum(case when is_late then 1 else 0 end) as late,
        sum(case when is_unknown then 1 else 0 end) as unknown
    from flows
    group by place
),

delisted_sums as (
    select place, count(*) as delisted from seen where field = 'delisted' group by place
),

edge_jobs as (
    select readings.place as reading, placed.id, placed.created_at, placed.credits, 1 as sign
    from placed
    inner join readings on placed.place + 1 = readings.place
    where placed.id is not null and placed.created_at >= readings.edge_from and placed.credits > 0
    union all
    select readings.place, placed.id, placed.created_at, placed.credits, -1
    from placed
    inner join readings on placed.place = readings.place
    where placed.id is not null and placed.created_at <= readings.edge_to and placed.credits > 0
),

edge_refunds as (
    select readings.place as reading, flows.id, flows.credits
    from flows
    inner join readings on flows.place + 1 = readings.place
    where flows.moment >= readings.edge_from and flows.credits > 0 and not flows.is_late
),

edge_sums as (
    select reading, sum(credits) as tolerance
    from (select reading, credits from edge_jobs union all select reading, credits from edge_refunds) as around
    group by reading
),

spans as (
    select
        place,
        moment as opened_at,
        account,
        plan as opening_plan,
        scope as opening_scope,
        credits as opening_credits,
        is_clock_unsure,
        lead(moment) over (order by place) as closed_at,
        lead(account) over (order by place) as closing_account,
        lead(plan) over (order by place) as plan,
        lead(scope) over (order by place) as closing_scope,
        lead(credits) over (order by place) as closing_credits,
        lead(is_clock_unsure) over (order by place) as closing_is_clock_unsure
    from readings
),

sums as (
    select
        spans.place,
        spans.opened_at,
        spans.closed_at,
        spans.closing_account as account,
        spans.plan,
        spans.opening_credits,
        spans.closing_credits,
        case when spans.opening_scope = 'team' and spans.closing_scope = 'team' then 'team' else 'user' end as scope,
        spans.account is distinct from spans.closing_account as has_other_account,
        spans.opening_plan is distinct from spans.plan as has_other_plan,
        spans.is_clock_unsure or spans.closing_is_clock_unsure as is_clock_unsure,
        coalesce(job_sums.jobs, 0) as jobs,
        coalesce(job_sums.charged, 0) as charged,
        coalesce(job_sums.jobs_cost_unknown, 0) as jobs_cost_unknown,
        coalesce(flow_sums.unknown, 0) as unknown,
        coalesce(job_sums.refunds_due, 0) as refunds_due,
        job_sums.due,
        job_sums.least_due,
        coalesce(flow_sums.given_back, 0) as given_back,
        coalesce(flow_sums.late, 0) as late,
        coalesce(delisted_sums.delisted, 0) as delisted,
        coalesce(opening.tolerance, 0) + coalesce(closing.tolerance, 0) as tolerance,
        spans.closing_credits - spans.opening_credits + coalesce(job_sums.charged, 0)
        - coalesce(flow_sums.given_back, 0) as gap
    from spans
    left join job_sums on spans.place = job_sums.place
    left join flow_sums on spans.place = flow_sums.place
    left join delisted_sums on spans.place = delisted_sums.place
    left join edge_sums as opening on spans.place = opening.reading
    left join edge_sums as closing on spans.place + 1 = closing.reading
    where spans.closed_at is not null
),

pairs as (
    select
        *,
        coalesce(sum(due) over (order by place rows between unbounded preceding and current row), 0) as due_so_far,
        min(least_due) over (order by place rows between unbounded preceding and current row) as least_due_so_far,
        lag(gap) over (order by place) as gap_before,
        lead(gap) over (order by place) as gap_after
    from sums
),

suspects as (
    select * from pairs where gap <> 0
),

-- From here on only around the pairs that are off. A job first seen when it cost nothing was refunded some price of its model.
prices as (
    select distinct model, credit_cost as credits from apiframe.jobs where credit_cost > 0
    union
    select jobs.model, changes.before
    from changes
    inner join apiframe.jobs as jobs on changes.id = jobs.id
    where changes.before > 0
),

known as (
    select model, count(*) as jobs from apiframe.jobs where credit_cost > 0 group by model
),

unseen as (
    select placed.place, placed.id, placed.model
    from placed
    inner join suspects on placed.place = suspects.place
    where placed.status in ('FAILED', 'CANCELLED') and coalesce(placed.credits, 0) = 0
),

-- So few jobs of its model are known that it may have cost anything.
vague as (
    select distinct unseen.place
    from unseen
    left join known on coalesce(unseen.model, '') = coalesce(known.model, '')
    where coalesce(known.jobs, 0) < 20
),

refunds as (
    select flows.place, flows.id, flows.credits, 1 as is_seen
    from flows
    inner join suspects on flows.place = suspects.place
    where flows.credits > 0 and not flows.is_late
    union all
    select unseen.place, unseen.id, prices.credits, 0
    from unseen
    inner join prices on coalesce(unseen.model, '') = coalesce(prices.model, '')
),

near as (
    select place - 1 as reading from suspects
    union
    select place from suspects
    union
    select place + 1 from suspects
    union
    select place + 2 from suspects
),

charge_offsets as (
    select near.reading, 0 as credits from near
    union
    select
        reading,
        sign * sum(credits) over (
            partition by reading, sign
            order by case when sign = 1 then created_at end desc, case when sign = -1 then created_at end, id
            rows between unbounded preceding and current row
        )
    from edge_jobs
    where reading in (select near.reading from near)
),

refund_offsets as (
    select near.reading, 0 as credits from near
    union
    select edge_refunds.reading, -edge_refunds.credits from edge_refunds where reading in (select near.reading from near)
    union
    select edge_refunds.reading, -sum(edge_refunds.credits)
    from edge_refunds
    where reading in (select near.reading from near)
    group by edge_refunds.reading
    union
    select refunds.place + 1, -refunds.credits from refunds where refunds.is_seen = 0
),

-- By how much a reading may be off, for what lies around it. Who knows the time within hours only cannot say.
offsets as (
    select distinct charge_offsets.reading, charge_offsets.credits + refund_offsets.credits as credits
    from charge_offsets
    inner join refund_offsets on charge_offsets.reading = refund_offsets.reading
    inner join readings on charge_offsets.reading = readings.place
    where not readings.is_clock_unsure
),

-- Pairs that are off and follow one another are explained together, or not: by how much each reading between them is then off
-- must be what lies around it, and the last of them must be right. Before the first reading nothing tells.
stretches as (
    select place, gap, place - row_number() over (order by place) as run from suspects
),

chains as (
    select
        place,
        run,
        min(place) over (partition by run) as first_place,
        sum(gap) over (partition by run) as total,
        sum(gap) over (partition by run order by place rows between unbounded preceding and current row) as off_after
    from stretches
),

settled as (
    select chains.run, max(case when chains.total <> 0 then 1 else 0 end) as is_first
    from chains
    left join offsets as opening
        on chains.place = 1 and chains.place = opening.reading and opening.credits = -chains.total
    left join offsets as closing
        on chains.place + 1 = closing.reading
        and closing.credits = chains.off_after - case when chains.first_place = 1 then chains.total else 0 end
    group by chains.run
    having
        count(*) = count(closing.reading)
        and (max(chains.total) = 0 and min(chains.total) = 0 or count(opening.reading) = 1)
),

-- Offsets of both readings that would explain a pair by itself: 1, or 2 where its neighbours contradict.
explained as (
    select
        suspects.place,
        case
            when opening.credits <> 0 and suspects.gap_before = 0 and earlier.reading is null then 2
            else 1
        end as doubt_before,
        case
            when closing.credits <> 0 and suspects.gap_after = 0 and later.reading is null then 2
            else 1
        end as doubt_after
    from suspects
    inner join offsets as opening on suspects.place = opening.reading
    inner join offsets as closing
        on suspects.place + 1 = closing.reading and suspects.gap = closing.credits - opening.credits
    left join offsets as earlier
        on suspects.place - 1 = earlier.reading and opening.credits - suspects.gap_before = earlier.credits
    left join offsets as later
        on suspects.place + 2 = later.reading and closing.credits + suspects.gap_after = later.credits
),

doubts as (
    select place, min(case when doubt_before > doubt_after then doubt_before else doubt_after end) as doubt
    from explained
    group by place
),

-- A neighbour that is off by what a reading between both may be off by, while this pair is off by something else.
disturbed as (
    select suspects.place
    from suspects
    inner join offsets on suspects.place = offsets.reading and suspects.gap_before = offsets.credits
    where offsets.credits <> 0
    union
    select suspects.place
    from suspects
    inner join offsets on suspects.place + 1 = offsets.reading and suspects.gap_after = -offsets.credits
    where offsets.credits <> 0
),

totals as (
    select suspects.place, -suspects.gap as loss, sum(refunds.credits) as credits
    from suspects
    inner join refunds on suspects.place = refunds.place and refunds.is_seen = 1
    group by suspects.place, suspects.gap
),

fitting as (
    select refunds.place, refunds.id, max(refunds.is_seen) as is_seen
    from refunds
    inner join suspects on refunds.place = suspects.place and refunds.credits = -suspects.gap
    group by refunds.place, refunds.id
    union
    select refunds.place, refunds.id, 1
    from refunds
    inner join totals on refunds.place = totals.place and totals.credits = totals.loss
    where refunds.is_seen = 1
),

ranked as (
    select *, row_number() over (partition by place order by is_seen desc, id) as turn from fitting
),

fits as (
    select
        place,
        max(is_seen) as is_seen,
        count(distinct id) as jobs,
        string_agg(id, ', ' order by id) filter (where turn <= 10) as refund_jobs
    from ranked
    group by place
),

-- Two refunds that would explain a loss together, or three that may.
cheapest as (
    select place, id, min(credits) as credits from refunds group by place, id
),

smallest as (
    select place, credits, row_number() over (partition by place order by credits, id) as turn from cheapest
),

threes as (
    select place, sum(credits) as credits from smallest where turn <= 3 group by place having count(*) = 3
),

twos as (
    select distinct one.place
    from refunds as one
    inner join refunds as other on one.place = other.place and one.id < other.id
    inner join suspects on one.place = suspects.place and one.credits + other.credits = -suspects.gap
),

combined as (
    select suspects.place
    from suspects
    inner join threes on suspects.place = threes.place and threes.credits <= -suspects.gap
    union
    select place from twos
),

-- What the refunds of a pair come to at most, and readings that jobs around them may have moved.
most as (
    select place, sum(credits) as credits
    from (select place, id, max(credits) as credits from refunds group by place, id) as dearest_refunds
    group by place
),

loose as (
    select reading from offsets where credits <> 0
    union
    select place + 1 from vague
),

-- What was gone at one reading is back at the next, with nothing else off around, and there are refunds that may have come in
-- between.
returned as (
    select suspects.place
    from suspects
    where
        suspects.gap < 0 and suspects.gap = -suspects.gap_after
        and coalesce(suspects.gap_before, 0) = 0 and suspects.place + 2 not in (select others.place from suspects as others) and (
            suspects.place in (select fits.place from fits)
            or suspects.place in (select combined.place from combined)
            or suspects.place in (select vague.place from vague)
        )
),

back as (
    select place from returned
    union
    select place + 1 from returned
),

-- A plan's renewal may take what was left: then some balance of the pair was what plans give, a multiple of 500.
levels as (
    select
        suspects.place,
        suspects.closing_credits + coalesce(sum(placed.credits) over (
            partition by suspects.place order by placed.created_at desc, placed.id
            rows between unbounded preceding and current row
        ), 0) as credits,
        suspects.closing_credits,
        suspects.given_back
    from suspects
    left join placed on suspects.place = placed.place and placed.id is not null
    where suspects.gap < 0
),

renewed as (
    select distinct place
    from levels
    where
        credits % 500 = 0 or (credits - given_back) % 500 = 0 or closing_credits % 500 = 0
        or (closing_credits - given_back) % 500 = 0
),

due_fits as (
    select distinct suspects.place
    from suspects
    inner join placed on suspects.gap = placed.due and placed.place <= suspects.place
),

-- What a full sync saw long after it may have come, found in the one pair that it explains.
late_flows as (
    select flows.id, flows.place, flows.credits, placed.place as since
    from flows
    left join placed on flows.id = placed.id
    where flows.is_late
),

found as (
    select distinct suspects.place, late_flows.id, late_flows.place as seen_in
    from late_flows
    inner join suspects
        on late_flows.credits = suspects.gap and suspects.place between coalesce(late_flows.since, 0) and late_flows.place
),

lost as (
    select late_flows.place, count(*) as jobs
    from late_flows
    left join found on late_flows.id = found.id and late_flows.place = found.seen_in
    where found.id is null
    group by late_flows.place
),
older as (
    select coalesce(sum(due), 0) as due, min(least_due) as least_due from job_sums where place = 0
),

dearest as (
    select max(credits) as credits from prices
),

judged as (
    select
        pairs.*,
        pairs.due_so_far + older.due
        + case
            when pairs.gap_before = 0 and pairs.gap_after = 0 then 0 else pairs.tolerance + coalesce(most.credits, 0)
        end as other_refunds,
        fits.refund_jobs,
        fits.is_seen,
        case
            when settled.run is not null or found.place is not null or back.place is not null then pairs.gap else 0
        end as moved,
        case
            when pairs.has_other_account then 'account'
            when lost.jobs > 0 then 'late'
            when pairs.gap = 0 or settled.is_first = 0 or found.place is not null or back.place is not null then 'none'
            when pairs.jobs_cost_unknown > 0 or pairs.unknown > 0 then 'cost'
            when pairs.is_clock_unsure then 'clock'
            when pairs.delisted > 0 then 'delisted'
            when settled.is_first = 1 then 'first'
            when doubts.doubt = 1 and pairs.gap_after is null then 'edge, next'
            when doubts.doubt = 1 or disturbed.place is not null or pairs.gap < 0 and pairs.gap = -pairs.gap_after then 'edge'
            when
                pairs.gap > 0 and pairs.gap_before <> 0
                and (vague_before.place is not null or pairs.gap <= pairs.tolerance + most.credits) then 'edge'
            when
                pairs.gap > 0 and coalesce(pairs.gap_after, 1) <> 0 and closing.reading is not null
                and pairs.gap <= pairs.tolerance then 'edge'
            when pairs.gap < 0 and coalesce(pairs.gap_before, 1) <> 0 and opening.reading is not null then 'edge'
            when pairs.gap < 0 and pairs.gap_after <> 0 and closing.reading is not null then 'edge'
            when pairs.scope = 'user' and pairs.gap > 0 then 'colleague, more'
            when pairs.scope = 'user' and fits.is_seen = 1 then 'colleague, refund'
            when pairs.scope = 'user' then 'colleague, less'
            when due_fits.place is not null then 'due'
            when
                pairs.gap > 0 and pairs.gap <= pairs.due_so_far + older.due
                and pairs.gap >= least(pairs.least_due_so_far, older.least_due) then 'due'
            when pairs.gap > 0 then 'top-up'
            when pairs.gap_after is null then 'next'
            when pairs.has_other_plan then 'plan'
            when fits.is_seen = 1 then 'refund'
            when fits.is_seen = 0 then 'unseen'
            when combined.place is not null or vague.place is not null then 'several'
            when renewed.place is not null then 'plan'
            when -pairs.gap > coalesce(dearest.credits, 0) then 'more'
            else 'charge'
        end as reason
    from pairs
    cross join older
    cross join dearest
    left join chains on pairs.place = chains.place
    left join settled on chains.run = settled.run
    left join doubts on pairs.place = doubts.place
    left join disturbed on pairs.place = disturbed.place
    left join fits on pairs.place = fits.place
    left join combined on pairs.place = combined.place
    left join vague on pairs.place = vague.place
    left join renewed on pairs.place = renewed.place
    left join loose as opening on pairs.place = opening.reading
    left join loose as closing on pairs.place + 1 = closing.reading
    left join vague as vague_before on pairs.place - 1 = vague_before.place
    left join most on pairs.place - 1 = most.place
    left join back on pairs.place = back.place
    left join due_fits on pairs.place = due_fits.place
    left join (select distinct place from found) as found on pairs.place = found.place
    left join lost on pairs.place = lost.place
),

-- Beside a pair that is off for jobs around a reading, two faults may cancel out.
told as (
    select
        judged.*,
        case
            when reason = 'none' and gap = 0 and (
                lag(reason) over (order by place) = 'edge' and place in (select reading from loose)
                or lead(reason) over (order by place) = 'edge' and place + 1 in (select reading from loose)
            ) then 'edge'
            else reason
        end as verdict_reason
    from judged
)

select
    opened_at,
    closed_at,
    account,
    scope,
    plan,
    opening_credits,
    closing_credits,
    cast(closing_credits - opening_credits as decimal(18, 4)) as change,
    jobs,
    charged,
    given_back,
    given_back - charged as expected_change,
    moved,
    gap - moved as residual,
    tolerance,
    jobs_cost_unknown,
    refunds_due,
    case verdict_reason
        when 'none' then 'balances'
        when 'top-up' then 'top-up'
        when 'refund' then 'refund missing'
        when 'charge' then 'charge without a job'
        else 'cannot tell'
    end as verdict,
    case when verdict_reason <> 'top-up' then 0 when gap > other_refunds then gap - other_refunds else gap end as top_up_at_least,
    case
        when verdict_reason in ('refund', 'unseen', 'colleague, refund') then refund_jobs
        when verdict_reason = 'edge' and is_seen = 1 then refund_jobs
    end as refund_jobs,
    case verdict_reason
        when 'account' then 'the two readings are of different accounts'
        when 'late' then 'a full sync saw credits given back long before, and no pair shows when they came'
        when 'cost' then 'the cost of some jobs is unknown'
        when 'clock' then 'the clocks of the API and of this machine disagree, so that it is not known when it was read'
        when 'delisted' then 'jobs are no longer listed, so that what became of their credits is not seen'
        when 'first' then 'jobs around the first reading explain it, or something is wrong: nothing was read before that tells'
        when 'edge, next' then 'jobs around a reading explain it, or something is wrong: the next reading tells'
        when 'edge' then 'jobs around a reading explain it or a part of it, or something is wrong'
        when 'colleague, more' then 'a top-up, or refunds of the jobs of colleagues: scope team tells'
        when 'colleague, refund' then 'the refund is missing, or jobs of colleagues cost that much: scope team tells'
        when 'colleague, less' then 'jobs of colleagues cost that much, or more was taken than jobs cost: scope team tells'
        when 'due' then 'a top-up, or refunds of failed jobs that are not looked at any more: sync --full tells'
        when 'top-up' then 'credits came in: a top-up, or the renewal of a plan'
        when 'next' then 'less is left than jobs explain: the next reading confirms it, or not'
        when 'plan' then 'a renewal of the plan took what was left, or more was taken than jobs cost'
        when 'refund'
            then 'these jobs were given back exactly this, each or together, and the balance did not get it; or as much was taken twice'
        when 'unseen' then 'the refund of a failed job, whose cost no sync saw, is missing, or more was taken than jobs cost'
        when 'several' then 'refunds of failed jobs are missing, some of which no sync saw the cost of, or more was taken than jobs cost'
        when 'more' then 'more is gone than any job ever cost: credits expired, or more was taken than jobs cost'
        when 'charge' then 'more was taken than jobs cost: one was charged twice, or there was none'
    end as why
from told
order by closed_at desc
