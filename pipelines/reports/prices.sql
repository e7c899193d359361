-- One row per price of a credit, as prices.csv has them; none where there is no such file.
-- Question: what did a credit cost, and when?
-- A price holds for whole days of reports.timezone, from its first day to the day before the next one's, in whatever currency.
-- Needs: apiframe.prices
-- Columns:
--   valid_from: first day on which it holds
--   valid_until: first day on which it holds no longer; null for the last one
--   price_per_credit: what a credit costs; of a pack paid / credits, to ten digits, half to even
--   currency: as ISO 4217 writes it
--   paid: what the pack cost; null where the price was told alone
--   pack_credits: credits in the pack; null where the price was told alone
select
    valid_from,
    lead(valid_from) over (order by valid_from) as valid_until,
    price_per_credit,
    currency,
    paid,
    credits as pack_credits
from apiframe.prices
