-- Writing made cheap: marks of a flush in a few rows, rows that are rewritten kept in their page.

-- Usage marks references as posted, many a row: a mark of its own for each would cost more than the
-- usage. The API marks customers, one a row.
alter table stale_draft add column posted text[];
update stale_draft set posted = array[reference] where reference is not null;
alter table stale_draft drop column reference;
alter table stale_draft add check (num_nonnulls(customer_id, posted) = 1);

-- One row a mark, for whoever looks.
create view stale_mark as
    select m.id, m.customer_id, p.reference, m.month
    from stale_draft m left join lateral unnest(m.posted) as p(reference) on true;

-- Rows come and go all the time: vacuumed by their number, whatever the table held when it was
-- looked at last.
alter table stale_draft set (autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000);

-- A draft is rewritten whenever its customer's usage is: room for that in its own page (none of its
-- indexed columns changes), and a document of usual length is neither compressed nor moved out.
alter table invoice set (fillfactor = 50, toast_tuple_target = 4080);
alter table projection_position set (fillfactor = 10);
