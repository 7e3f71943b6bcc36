-- The life of an invoice beyond its draft: final, void, made again; and usage that came too late.

alter table invoice
    add column issued_at timestamptz,                -- when it was finalized
    add column digest bytea,                         -- of the document as it was finalized
    -- The void invoice that this one replaces; each is replaced once.
    add column regenerated_from_invoice_id uuid unique references invoice (id);

-- jsonb has one text for one value.
create function document_digest(document jsonb) returns bytea immutable language sql
    return sha256(convert_to(document::text, 'UTF8'));

-- Drafts that a scheduler looks for: none, most of the time.
create index invoice_due on invoice (ends_at, id) where status = 'DRAFT';

-- What was once final never changes, whoever tries: it can only become void.
create function refuse_change_of_final_invoice() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.status = 'FINALIZED' and new.status = 'VOID'
        and to_jsonb(old) - 'status' = to_jsonb(new) - 'status' then
        return new;
    end if;
    raise exception 'invoice % is % and never changes', old.id, old.status
        using errcode = 'restrict_violation';
end $$;
create trigger invoice_is_final before update or delete on invoice for each row
    when (old.issued_at is not null) execute function refuse_change_of_final_invoice();

-- Usage of a finalized invoice's period moved after all: work list of the comparison, append-only.
create table late_mark (
    id         bigint generated always as identity primary key,
    invoice_id uuid not null
);
create index late_mark_invoice on late_mark (invoice_id);

-- Finalized invoices whose period has come to something else since; no row: it has not.
create table late_usage (
    invoice_id uuid primary key references invoice (id),
    document   jsonb not null,         -- what the invoice would be
    as_of      timestamptz not null,   -- usage accepted up to here is in it
    noted_at   timestamptz not null
);
