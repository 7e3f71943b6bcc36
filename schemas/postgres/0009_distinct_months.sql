-- Distinct values by calendar month, so that an invoice never goes through the hours again: who counts
-- a month of a UNIQUE metric reads one number, or each value once.

create table usage_distinct_month (
    series_id bigint not null,
    starts_at timestamptz not null,         -- month, UTC
    value     text collate "C" not null,
    first_at  timestamptz not null,         -- the first and the last hour of the month that has it,
    last_at   timestamptz not null,         -- for periods that begin or end inside
    primary key (series_id, starts_at, value)
) with (fillfactor = 70);

alter table usage_month add column distinct_count bigint not null default 0;

insert into usage_distinct_month
    select series_id, date_trunc('month', starts_at, 'UTC'), value, min(starts_at), max(starts_at)
    from usage_distinct group by 1, 2, 3;
update usage_month m set distinct_count = n.count
    from (select series_id, starts_at, count(*) from usage_distinct_month group by 1, 2) as n
    where m.series_id = n.series_id and m.starts_at = n.starts_at;

-- Kept by the table itself: whoever adds hours, a projector of an earlier version too, adds to the
-- months. Writers of one series wait for each other at its row of usage_month, which they write first.
create function add_to_distinct_months() returns trigger language plpgsql as $$
begin
    with merged as (
        insert into usage_distinct_month as held (series_id, starts_at, value, first_at, last_at)
        select a.series_id, date_trunc('month', a.starts_at, 'UTC'), a.value, min(a.starts_at),
            max(a.starts_at)
        from added a group by 1, 2, 3 order by 1, 2, 3
        on conflict (series_id, starts_at, value) do update set
            first_at = least(held.first_at, excluded.first_at),
            last_at = greatest(held.last_at, excluded.last_at)
        where excluded.first_at < held.first_at or excluded.last_at > held.last_at
        -- A row that was there has been locked, one that was made has not.
        returning series_id, starts_at, xmax = 0 as made
    )
    insert into usage_month as held (series_id, starts_at, count, total, distinct_count)
    select m.series_id, m.starts_at, 0, 0, count(*)
    from merged m where m.made group by 1, 2 order by 1, 2
    on conflict (series_id, starts_at) do update set
        distinct_count = held.distinct_count + excluded.distinct_count;
    return null;
end $$;
create trigger distinct_months after insert on usage_distinct
    referencing new table as added for each statement execute function add_to_distinct_months();
