-- Events whose transaction_id was seen before with other content. Each counts as a duplicate; what it
-- says stands in usage.raw at raw_offset, what was counted at first_offset of the same partition.

create table conflicting_event (
    generation     int not null default 0 references generation (id),
    partition      int not null,
    raw_offset     bigint not null,
    first_offset   bigint not null,       -- raw offset of the sighting that was counted
    transaction_id text not null,
    ingested_at    timestamptz not null,
    primary key (generation, partition, raw_offset)
);

-- Operators list both newest first, page by page.
create index conflicting_event_newest
    on conflicting_event (generation, ingested_at, partition, raw_offset);
create index rejected_event_newest
    on rejected_event (generation, ingested_at, partition, raw_offset, metric_id);
