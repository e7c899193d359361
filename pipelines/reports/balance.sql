-- One row per reading of the account's balance.
-- Question: what was left when, and how fast does it fall?
-- A reading is made at the first sync, then once every sources.apiframe.balance_every. One that failed has a problem and no
-- credits. Changes are those between readings that went well: jobs, refunds, top-ups and renewals together.
-- Needs: apiframe.balances
-- Columns:
--   read_at: when it was read
--   account: whose credits these are: the team, or the user where there is none
--   team_name: the team's name; null where there is none, or it was not told
--   plan: the team's plan, as the API names it
--   credits: what was left; null where that could not be read
--   change: credits since the reading before that went well, below zero where some were spent; null for the first one
--   hours: hours since that reading
--   credits_per_hour: change by hours
--   is_current: the last reading that went well
--   problem: why there are no credits; null where they were read
with readings as (
    select
        *,
        cast(
            credits - lag(credits) over (partition by account, credits is null order by read_at) as decimal(18, 4)
        ) as change,
        lag(read_at) over (partition by account, credits is null order by read_at) as before_at,
        row_number() over (partition by credits is null order by read_at desc) as latest
    from apiframe.balances
)

select
    read_at,
    account,
    team_name,
    plan,
    credits,
    change,
    case when credits is not null then {seconds(before_at, read_at)} / 3600 end as hours,
    {double(change)} / nullif({seconds(before_at, read_at)} / 3600, 0) as credits_per_hour,
    credits is not null and latest = 1 as is_current,
    problem
from readings
