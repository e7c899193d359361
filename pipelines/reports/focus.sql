-- One row per charge, as FOCUS 1.4 names it: a job that has ended and cost credits, or a pack of credits in prices.csv.
-- Question: what do the jobs cost in the words of a bill, so that they can stand beside those of every other provider?
-- Usage (a job) has the credits it cost, and their price, as effective_cost: the sum is that of cost in reports.jobs. A
-- Purchase (a pack) has what was paid as billed_cost, and no effective_cost: credits cost when they are used. An open job, a
-- job without a charge and one of unknown cost have no row; a job without a price has one without a cost, which no FOCUS file
-- may hold. Months, days and hours are UTC, as FOCUS wants them; the price is that of the job's day in reports.timezone.
-- export focus writes it with FOCUS' own names (billed_cost: BilledCost). What Apiframe has not is there as a typed null.
-- Engine: duckdb, postgres
-- Needs: reports.jobs, reports.prices, reports.labelled_jobs, apiframe.sync_runs, apiframe.balances
-- Columns:
--   allocated_method_details: null
--   allocated_method_id: null
--   allocated_resource_id: null
--   allocated_resource_name: null
--   allocated_tags: null
--   availability_zone: null
--   billed_cost: what was paid for a pack; 0 for a job
--   billing_account_id: the team, or the user where there is none; unknown where no sync has asked yet
--   billing_account_name: the team's name, as it was read last; null where it was not told
--   billing_account_type: Team or User
--   billing_currency: of the price; null where there is none
--   billing_period_end: the next month's first moment
--   billing_period_start: the month's first moment
--   capacity_reservation_id: null
--   capacity_reservation_status: null
--   charge_category: Usage (a job) or Purchase (a pack)
--   charge_class: null: no row corrects one of a month that was closed
--   charge_description: model and credits, or the credits of the pack: no id, since bills are grouped by it
--   charge_frequency: Usage-Based or One-Time
--   charge_period_end: an hour after the start; for a pack a day
--   charge_period_start: the hour in which the job was created; for a pack its valid_from
--   commitment_discount_category: null
--   commitment_discount_id: null
--   commitment_discount_name: null
--   commitment_discount_quantity: null
--   commitment_discount_status: null
--   commitment_discount_type: null
--   commitment_discount_unit: null
--   commitment_program_eligibility_details: null
--   consumed_quantity: files delivered, 1 (job) where they are unknown; null for a pack
--   consumed_unit: Images, Videos, Tracks or Files; Jobs where the files are unknown; null for a pack
--   contract_applied: null
--   contracted_cost: as effective_cost; for a pack as billed_cost
--   contracted_unit_price: of a pricing_unit, in billing_currency
--   effective_cost: credits times their price, exact; 0 for a pack; null without a price for the day
--   host_provider_name: Apiframe
--   invoice_detail_id: null
--   invoice_id: null
--   invoice_issuer_name: Apiframe
--   list_cost: as contracted_cost
--   list_unit_price: as contracted_unit_price
--   pricing_category: Standard
--   pricing_currency: Credits; for a pack billing_currency
--   pricing_currency_contracted_unit_price: of a pricing_unit, in pricing_currency
--   pricing_currency_effective_cost: the job's credits; 0 for a pack
--   pricing_currency_list_unit_price: as pricing_currency_contracted_unit_price
--   pricing_quantity: 1; for a pack its credits
--   pricing_unit: Jobs; for a pack Credits
--   region_id: null
--   region_name: null
--   resource_id: the API's job id; null for a pack
--   resource_name: null: FOCUS wants no id of the system here
--   resource_type: Generation Job; null for a pack
--   service_category: AI and Machine Learning
--   service_name: Apiframe Image, Video, Music or Other Generation; for a pack Apiframe Credits
--   service_provider_name: Apiframe
--   service_subcategory: Generative AI
--   sku_id: the model, unnamed where the API names none; for a pack credits
--   sku_meter: Image, Video, Music or Other Generation; for a pack Credits
--   sku_price_details: null
--   sku_price_id: sku_id and the credits of the job; for a pack sku_id and the price of a credit
--   sub_account_id: null
--   sub_account_name: null
--   sub_account_type: null
--   tags: the labels of the job that have a value, as a JSON object; null where there is none, and for a pack
--   x_credit_cost: the job's credits; null for a pack
--   x_credit_price: what a credit costs, in billing_currency
--   x_job_count: 1; null for a pack
--   x_job_status: status as the API names it; null for a pack
--   x_modality: image, video or music; null for a pack
--   x_model: model as the API names it; null for a pack
with readings as (
    select
        team_name,
        row_number() over (order by read_at desc) as latest
    from apiframe.balances
    where team_name is not null
),

account as (
    select
        coalesce(run.team_id, run.user_id, 'unknown') as id,
        reading.name,
        case when run.team_id is null then 'User' else 'Team' end as type
    from (select max(team_id) as team_id, max(user_id) as user_id from apiframe.sync_runs) as run  -- of one account
    cross join (select max(team_name) as name from readings where latest = 1) as reading
),

tagged as (
    select
        id,
        '{' || string_agg(cast(to_json(label) as varchar) || ':' || cast(to_json(value) as varchar), ',' order by label)
        || '}' as tags
    from reports.labelled_jobs
    where value is not null
    group by id
),

jobs as (
    select
        *,
        cast(credits as decimal(18, 4)) as spent,
        case modality
            when 'image' then 'Image Generation'
            when 'video' then 'Video Generation'
            when 'music' then 'Music Generation'
            else 'Other Generation'
        end as meter,
        case modality when 'image' then 'Images' when 'video' then 'Videos' when 'music' then 'Tracks' else 'Files' end
        as files,
        coalesce(nullif(model, ''), 'unnamed') as sku
    from reports.jobs
    where not is_open and credits <> 0
),

charges as (
    select
        'Usage' as category,
        'Usage-Based' as frequency,
        jobs.sku || ' for ' || rtrim(rtrim(cast(jobs.spent as varchar), '0'), '.') || ' credits' as description,
        date_trunc('hour', jobs.created_at at time zone 'UTC') as started,
        date_trunc('hour', jobs.created_at at time zone 'UTC') + interval '1 hour' as ended,
        0 as billed,
        {cost(jobs.spent, prices.price_per_credit)} as effective,
        {cost(jobs.spent, prices.price_per_credit)} as listed,
        {cost(jobs.spent, prices.price_per_credit)} as unit_price,
        prices.currency,
        'Credits' as pricing_currency,
        cast(jobs.spent as decimal(38, 14)) as pricing_currency_unit_price,
        jobs.spent as pricing_currency_effective,
        cast(1 as decimal(18, 4)) as quantity,
        'Jobs' as unit,
        coalesce(jobs.assets, 1) as consumed,
        case when jobs.assets is null then 'Jobs' else jobs.files end as consumed_unit,
        jobs.id as resource,
        'Generation Job' as resource_type,
        'Apiframe ' || jobs.meter as service,
        jobs.sku,
        jobs.meter,
        rtrim(rtrim(cast(jobs.spent as varchar), '0'), '.') as price_of_sku,
        jobs.spent as credits,
        prices.price_per_credit,
        1 as jobs,
        jobs.status,
        jobs.modality,
        jobs.model,
        tagged.tags
    from jobs
    left join tagged on jobs.id = tagged.id
    left join reports.prices
        on jobs.day >= prices.valid_from and (jobs.day < prices.valid_until or prices.valid_until is null)
    union all
    select
        'Purchase',
        'One-Time',
        rtrim(rtrim(cast(pack_credits as varchar), '0'), '.') || ' credits',
        cast(valid_from as timestamp),
        cast(valid_from as timestamp) + interval '1 day',
        paid,
        0,
        paid,
        price_per_credit,
        currency,
        currency,
        price_per_credit,
        0,
        pack_credits,
        'Credits',
        null,
        null,
        null,
        null,
        'Apiframe Credits',
        'credits',
        'Credits',
        rtrim(rtrim(cast(price_per_credit as varchar), '0'), '.'),
        null,
        price_per_credit,
        null,
        null,
        null,
        null,
        null
    from reports.prices
    where paid is not null
)

select
    cast(null as varchar) as allocated_method_details,
    cast(null as varchar) as allocated_method_id,
    cast(null as varchar) as allocated_resource_id,
    cast(null as varchar) as allocated_resource_name,
    cast(null as varchar) as allocated_tags,
    cast(null as varchar) as availability_zone,
    cast(charges.billed as decimal(38, 14)) as billed_cost,
    cast(account.id as varchar) as billing_account_id,
    cast(account.name as varchar) as billing_account_name,
    cast(account.type as varchar) as billing_account_type,
    cast(charges.currency as varchar) as billing_currency,
    (date_trunc('month', charges.started) + interval '1 month') at time zone 'UTC' as billing_period_end,
    date_trunc('month', charges.started) at time zone 'UTC' as billing_period_start,
    cast(null as varchar) as capacity_reservation_id,
    cast(null as varchar) as capacity_reservation_status,
    cast(charges.category as varchar) as charge_category,
    cast(null as varchar) as charge_class,
    cast(charges.description as varchar) as charge_description,
    cast(charges.frequency as varchar) as charge_frequency,
    charges.ended at time zone 'UTC' as charge_period_end,
    charges.started at time zone 'UTC' as charge_period_start,
    cast(null as varchar) as commitment_discount_category,
    cast(null as varchar) as commitment_discount_id,
    cast(null as varchar) as commitment_discount_name,
    cast(null as decimal(38, 14)) as commitment_discount_quantity,
    cast(null as varchar) as commitment_discount_status,
    cast(null as varchar) as commitment_discount_type,
    cast(null as varchar) as commitment_discount_unit,
    cast(null as varchar) as commitment_program_eligibility_details,
    cast(charges.consumed as decimal(38, 14)) as consumed_quantity,
    cast(charges.consumed_unit as varchar) as consumed_unit,
    cast(null as varchar) as contract_applied,
    cast(charges.listed as decimal(38, 14)) as contracted_cost,
    cast(charges.unit_price as decimal(38, 14)) as contracted_unit_price,
    cast(charges.effective as decimal(38, 14)) as effective_cost,
    cast('Apiframe' as varchar) as host_provider_name,
    cast(null as varchar) as invoice_detail_id,
    cast(null as varchar) as invoice_id,
    cast('Apiframe' as varchar) as invoice_issuer_name,
    cast(charges.listed as decimal(38, 14)) as list_cost,
    cast(charges.unit_price as decimal(38, 14)) as list_unit_price,
    cast('Standard' as varchar) as pricing_category,
    cast(charges.pricing_currency as varchar) as pricing_currency,
    cast(charges.pricing_currency_unit_price as decimal(38, 14)) as pricing_currency_contracted_unit_price,
    cast(charges.pricing_currency_effective as decimal(38, 14)) as pricing_currency_effective_cost,
    cast(charges.pricing_currency_unit_price as decimal(38, 14)) as pricing_currency_list_unit_price,
    cast(charges.quantity as decimal(38, 14)) as pricing_quantity,
    cast(charges.unit as varchar) as pricing_unit,
    cast(null as varchar) as region_id,
    cast(null as varchar) as region_name,
    cast(charges.resource as varchar) as resource_id,
    cast(null as varchar) as resource_name,
    cast(charges.resource_type as varchar) as resource_type,
    cast('AI and Machine Learning' as varchar) as service_category,
    cast(charges.service as varchar) as service_name,
    cast('Apiframe' as varchar) as service_provider_name,
    cast('Generative AI' as varchar) as service_subcategory,
    cast(charges.sku as varchar) as sku_id,
    cast(charges.meter as varchar) as sku_meter,
    cast(null as varchar) as sku_price_details,
    cast(charges.sku || '-' || charges.price_of_sku as varchar) as sku_price_id,
    cast(null as varchar) as sub_account_id,
    cast(null as varchar) as sub_account_name,
    cast(null as varchar) as sub_account_type,
    cast(charges.tags as varchar) as tags,
    cast(charges.credits as decimal(38, 14)) as x_credit_cost,
    cast(charges.price_per_credit as decimal(38, 14)) as x_credit_price,
    cast(charges.jobs as bigint) as x_job_count,
    cast(charges.status as varchar) as x_job_status,
    cast(charges.modality as varchar) as x_modality,
    cast(charges.model as varchar) as x_model
from charges
cross join account
