-- Plans carry all of Metronome's model. Numbers inside jsonb are text, so that no reader of a
-- column can lose a digit; units there are ids of credit_type.

alter table plan
    drop constraint plan_billing_frequency_check,
    add check (billing_frequency in ('MONTHLY', 'QUARTERLY', 'ANNUAL', 'WEEKLY')),
    add column billing_cycle text not null default 'CALENDAR'
        check (billing_cycle in ('CALENDAR', 'ANNIVERSARY')),
    -- [{"name", "value", "credit_type_id", "start_period"}]
    add column minimums jsonb not null default '[]',
    -- [{"credit_type_id", "fiat_credit_type_id", "to_fiat_conversion_factor", "start_period"}]
    add column overage_rates jsonb not null default '[]',
    -- [{"name", "amount_granted", "amount_granted_credit_type_id", "amount_paid", ...}]
    add column credit_grants jsonb not null default '[]';

alter table charge
    drop constraint charge_charge_type_check,
    add check (charge_type in ('usage', 'fixed', 'composite', 'minimum')),
    alter column billable_metric_id drop not null,
    add check ((charge_type = 'usage') = (billable_metric_id is not null)),
    add column tiering text not null default 'GRADUATED'
        check (tiering in ('GRADUATED', 'VOLUME')),
    add column package_size numeric,       -- the price is per started block of so many units
    add column quantity numeric not null default 1,            -- of a fixed charge
    add column tier_reset_frequency int not null default 1,    -- in billing periods
    add column start_period int not null default 0,            -- in billing periods
    add column group_key text[] not null default '{}',         -- in the order it was asked for
    -- What a composite or a minimum looks at.
    add column base_product_ids uuid[] not null default '{}',
    add column base_charge_ids uuid[] not null default '{}';

-- A customer's own terms; null where it has the plan's.
alter table customer_plan
    -- [{"charge_id", "adjustment_type", "start_period", "value", "tier"}]
    add column price_adjustments jsonb,
    -- {"length_in_days", "spending_cap": {"amount", "credit_type_id"} or null}
    add column trial_spec jsonb,
    -- [{"custom_credit_type_id", "fiat_currency_credit_type_id", "to_fiat_conversion_factor"}]
    add column overage_rate_adjustments jsonb;

-- The other currencies that Metronome prices in (services/domain/money.py), in whole units.
insert into credit_type (id, name, is_currency, decimal_places) values
    ('909377c6-ea7b-508d-bd5e-9642adcb0805', 'AUD', true, 2),
    ('f4a66f69-cea0-53bd-976f-c47a8bf137bf', 'BRL', true, 2),
    ('c71cf65d-bf5c-5a17-a9fe-d916364fcb95', 'CAD', true, 2),
    ('b78ee650-a83a-5582-bf84-586e19d14f64', 'CHF', true, 2),
    ('2edf4693-2699-5b8f-b00d-f6bd539ee3ee', 'CZK', true, 2),
    ('1c475899-09b3-5c1d-b62f-404b15bf01fe', 'EUR', true, 2),
    ('d0a5656c-0066-56b2-9de8-30adf765ee71', 'GBP', true, 2),
    ('95733ea7-e7bd-5635-9ed7-6bc387386782', 'INR', true, 2),
    ('3e8f3c52-f332-58fd-9237-db3d0ac17549', 'MXN', true, 2),
    ('cfc75f9e-c254-5d1d-b4df-cedd63dc4b4a', 'NGN', true, 2),
    ('b812ec8d-08fc-532f-8314-b346b8ad4afc', 'NOK', true, 2),
    ('967e38df-fb9e-5a9b-9902-bd0ef3e9a169', 'NZD', true, 2),
    ('7a5b3724-6bbd-502c-a66a-12e9ea51872a', 'PLN', true, 2),
    ('4a021352-4f93-55b6-b176-411b0d60ebf4', 'SEK', true, 2),
    ('87fe0129-930e-5931-838f-884910e299cd', 'SGD', true, 2),
    ('aabb4cee-2440-5823-8bbb-4d0aed083433', 'TRY', true, 2),
    ('9a6dab30-1e67-5d2e-a922-533599273f06', 'ZAR', true, 2);

-- Up to when a customer's plan has invoices is asked every minute, of every plan.
create index invoice_customer_plan on invoice (customer_plan_id, ends_at);
