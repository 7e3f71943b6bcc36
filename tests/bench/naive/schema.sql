-- Every event once, by its id, and totals by customer, metric, group and calendar month.
create table usage_event (
    transaction_id text primary key,
    customer_id    text not null,
    event_type     text not null,
    occurred_at    timestamptz not null,
    properties     jsonb not null,
    received_at    timestamptz not null default now()
);

create table usage_total (
    customer_id text not null,
    metric      text not null,
    group_value text not null,
    month       date not null,
    total       numeric not null,
    primary key (customer_id, metric, group_value, month)
) with (fillfactor = 70);
