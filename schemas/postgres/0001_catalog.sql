-- The catalog: customers, metrics, plans and tokens (control plane).
-- Every change appends to catalog_audit under the version that catalog_version then holds; the
-- update of its one row serialises changes, so versions are in commit order.

create table catalog_version (
    only_row boolean primary key default true check (only_row),
    version  bigint not null
);
insert into catalog_version (version) values (0);

create table catalog_audit (
    version   bigint primary key,
    at        timestamptz not null default now(),
    actor     text not null,               -- name of the token or of the command
    action    text not null,               -- e.g. customer.create
    entity_id uuid,
    detail    jsonb not null default '{}'
);

create table credit_type (
    id             uuid primary key,
    name           text not null unique,
    is_currency    boolean not null,
    decimal_places int not null            -- places of the unit that an invoice total keeps
);
-- USD is kept in cents and its id is the one all of Metronome's clients know.
insert into credit_type (id, name, is_currency, decimal_places)
values ('2714e483-4ff1-48e4-9e25-ac732e8f24f2', 'USD (cents)', true, 0);

create table customer (
    id            uuid primary key,
    ordinal       bigint generated always as identity unique,  -- keyset paging
    name          text not null,
    custom_fields jsonb not null default '{}',
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    archived_at   timestamptz
);

-- Every text that names a customer in an event: its own id (alias_position null) and its aliases.
create table customer_reference (
    reference      text primary key,
    customer_id    uuid not null references customer (id),
    alias_position int                     -- order in which the aliases were given
);
create index customer_reference_customer on customer_reference (customer_id);

create table billable_metric (
    id                uuid primary key,
    ordinal           bigint generated always as identity unique,
    name              text not null,
    aggregation_type  text not null check
        (aggregation_type in ('COUNT', 'SUM', 'MAX', 'LATEST', 'UNIQUE')),
    aggregation_key   text,
    event_type_filter jsonb,               -- {"in_values": [..], "not_in_values": [..]}
    property_filters  jsonb,               -- [{"name", "exists", "in_values", "not_in_values"}]
    group_keys        jsonb,               -- [["region"], ["region", "tier"]]
    custom_fields     jsonb not null default '{}',
    created_at        timestamptz not null default now(),
    created_version   bigint not null,     -- catalog version from which it counts live
    archived_at       timestamptz
);

create table plan (
    id                uuid primary key,
    ordinal           bigint generated always as identity unique,
    name              text not null,
    description       text not null default '',
    billing_frequency text not null check (billing_frequency in ('MONTHLY')),
    credit_type_id    uuid not null references credit_type (id),
    custom_fields     jsonb not null default '{}',
    created_at        timestamptz not null default now()
);

create table charge (
    id                 uuid primary key,
    plan_id            uuid not null references plan (id),
    position           int not null,
    name               text not null,
    product_id         uuid not null,
    product_name       text not null,
    charge_type        text not null check (charge_type in ('usage')),
    billable_metric_id uuid not null references billable_metric (id),
    prices             jsonb not null,     -- [{"tier": "0", "value": "10"}], numbers as text
    unit_conversion    jsonb,              -- {"division_factor": "1e9", "rounding_behavior": null}
    custom_fields      jsonb not null default '{}',
    unique (plan_id, position)
);

create table customer_plan (
    id                     uuid primary key,
    ordinal                bigint generated always as identity unique,
    customer_id            uuid not null references customer (id),
    plan_id                uuid not null references plan (id),
    starting_on            timestamptz not null,               -- inclusive, midnight UTC
    ending_before          timestamptz,                        -- exclusive, midnight UTC
    net_payment_terms_days numeric,
    custom_fields          jsonb not null default '{}',
    created_at             timestamptz not null default now(),
    check (ending_before is null or ending_before > starting_on)
);
create index customer_plan_customer on customer_plan (customer_id);

create table api_token (
    id          uuid primary key,
    name        text not null,
    token_hash  bytea not null unique,     -- SHA-256; the token itself is shown once, never kept
    created_at  timestamptz not null default now(),
    archived_at timestamptz
);
