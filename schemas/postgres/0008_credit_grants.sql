-- Credit grants (METRONOME 3.9). What invoices take from them is in the invoices' documents, so that
-- a deduction is exactly as final, as void or as open as the invoice that shows it.

create table credit_grant (
    id                uuid primary key,
    customer_id       uuid not null references customer (id),
    name              text not null,
    credit_type_id    uuid not null references credit_type (id),
    amount            numeric not null check (amount > 0),
    paid_amount       numeric not null check (paid_amount >= 0),
    paid_credit_type_id uuid not null references credit_type (id),
    priority          numeric not null,
    -- Whole hours, as usage is kept by hours.
    effective_at      timestamptz not null check (extract(epoch from effective_at) % 3600 = 0),
    expires_at        timestamptz not null check (extract(epoch from expires_at) % 3600 = 0),
    product_ids       uuid[] not null default '{}',  -- in order of application; empty: every product
    reason            text,
    credit_grant_type text,
    uniqueness_key    text unique,
    custom_fields     jsonb not null default '{}',
    customer_plan_id  uuid references customer_plan (id),  -- the plan that granted it; null: given by hand
    voided_at         timestamptz,
    created_at        timestamptz not null,
    created_by        text not null,
    check (effective_at < expires_at)
);
create index credit_grant_customer on credit_grant (customer_id);
create index credit_grant_order on credit_grant (created_at, id);  -- keyset paging

-- What a finalized invoice had available: the grants with what was left of each (`credit_rows`).
-- Usage that comes too late is compared at the same credits, whatever became of them since. Null:
-- the customer had none.
alter table invoice add column credits jsonb;
