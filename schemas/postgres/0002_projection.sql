-- What the projector writes. projection_position is the checkpoint: it moves in the same
-- transaction that applies a range, by compare-and-set, and nothing else decides what was counted.

create table projection_position (
    partition         int primary key,
    first_raw_offset  bigint not null,     -- where the chain of this partition began
    next_raw_offset   bigint not null,     -- exclusive end of what is counted
    next_rated_offset bigint not null,     -- where to go on reading usage.rated
    counted           bigint not null,
    duplicates        bigint not null,     -- conflicts included
    conflicts         bigint not null,
    rejected          bigint not null,
    unmatched         bigint not null,     -- counted, but by no metric
    ingested_to       timestamptz not null,-- log-append time of the last raw offset counted
    catalog_version   bigint not null,
    updated_at        timestamptz not null,
    -- Conservation (DESIGN section 2): every raw offset has exactly one fate.
    check (next_raw_offset - first_raw_offset = counted + duplicates + rejected)
);

-- A series is one line of usage: who (as posted), which metric, which group values.
-- group_values is a JSON array in the order of the metric's grain; '[]' when it has no groups.
create table usage_series (
    id           bigint generated always as identity primary key,
    reference    text not null,
    metric_id    uuid not null,
    group_values text not null,
    unique (reference, metric_id, group_values)
);

-- Aggregates by hour, and by calendar month so that an invoice never adds up hours.
create table usage_hour (
    series_id        bigint not null,
    starts_at        timestamptz not null,  -- hour, UTC
    count            bigint not null,
    total            numeric not null,
    peak             numeric,
    latest_at        timestamptz,
    latest_partition int,
    latest_offset    bigint,
    latest           numeric,
    primary key (series_id, starts_at)
) with (fillfactor = 70);

create table usage_month (
    like usage_hour including all
) with (fillfactor = 70);

-- Values seen under UNIQUE metrics.
create table usage_distinct (
    series_id bigint not null,
    starts_at timestamptz not null,         -- hour, UTC
    value     text not null,
    primary key (series_id, starts_at, value)
);

create table rejected_event (
    partition       int not null,
    raw_offset      bigint not null,
    metric_id       uuid not null default '00000000-0000-0000-0000-000000000000',
    reason          text not null,
    detail          text not null,
    record_key      bytea,
    record_value    bytea,
    ingested_at     timestamptz not null,
    rejected_at     timestamptz not null,
    catalog_version bigint not null,
    primary key (partition, raw_offset, metric_id)
);

-- Work list of the pricing step: append-only, so that marking never waits for pricing.
-- month is the first day of the calendar month (UTC) whose usage or catalog changed. Usage marks the
-- reference as posted, and whose it is gets resolved when pricing: were it resolved here, an alias
-- or a plan committed at the same moment could leave a draft stale for ever. The API marks customers.
create table stale_draft (
    id          bigint generated always as identity primary key,
    customer_id uuid,
    reference   text,
    month       date not null,
    check (num_nonnulls(customer_id, reference) = 1)
);
create index stale_draft_customer on stale_draft (customer_id) where customer_id is not null;
create index stale_draft_reference on stale_draft (reference) where reference is not null;

create table invoice (
    id                      uuid primary key,
    customer_id             uuid not null references customer (id),
    customer_plan_id        uuid not null references customer_plan (id),
    plan_id                 uuid not null references plan (id),
    credit_type_id          uuid not null references credit_type (id),
    status                  text not null check (status in ('DRAFT', 'FINALIZED', 'VOID')),
    starts_at               timestamptz not null,  -- inclusive
    ends_at                 timestamptz not null,  -- exclusive
    document                jsonb not null,        -- line items, subtotal, total: exact numbers
    catalog_version         bigint not null,
    as_of                   timestamptz not null,  -- usage accepted up to here is in it
    priced_at               timestamptz not null
);
create index invoice_customer on invoice (customer_id, starts_at, id);
-- One live invoice a period of a customer plan.
create unique index invoice_live on invoice (customer_plan_id, starts_at) where status <> 'VOID';
