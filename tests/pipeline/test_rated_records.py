"""Records of usage.rated carry exactly what was folded, in the format of today and in that of once;
one of a format to come is refused.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.aggregate import Aggregate, AggregateKey
from services.domain.catalog import Catalog
from services.domain.chain import Range
from services.domain.meter import Aggregation, BillableMetric
from services.domain.rating import rate
from services.projector.merge import merge_range
from services.projector.projection import Flush
from services.rating.fold import rated_batch
from services.runtime.events import WireEvent, encode_event
from services.runtime.log import Record
from services.runtime.records import (
    INTEGER_MAX,
    RATED_FORMAT,
    RatedHead,
    UniqueBatch,
    UnknownFormat,
    decode_rated,
    decode_rated_head,
    decode_unique_events,
    encode,
)
from tests.domain.reference_cases import EVERY_KIND, metric_sets
from tests.domain.strategies import START, events

Aggregates = dict[AggregateKey, Aggregate]
PARTITION = 3
wire_events = events.map(
    lambda e: WireEvent("t", e.customer_id, e.event_type, e.timestamp, dict(e.properties))
)


def unique(posted: Sequence[WireEvent], first: int) -> Record:
    """A record of usage.unique with nothing but events."""
    batch = UniqueBatch(
        format=1,
        partition=PARTITION,
        first=first,
        last=first + len(posted) - 1,
        ingested_from_ms=1,
        ingested_to_ms=2,
        offsets=list(range(len(posted))),
        events=[msgspec.Raw(encode_event(event)) for event in posted],
        conflicts=[],
        rejected=[],
    )
    return Record(PARTITION, 0, 0, None, encode(batch))


def rated(posted: Sequence[WireEvent], first: int, metrics: Sequence[BillableMetric]) -> bytes:
    """What rating writes."""
    record = unique(posted, first)
    batch = decode_unique_events(record.value, "")
    fresh = Range(batch.first, batch.last)
    return encode(rated_batch(record, batch, fresh, Catalog(1, tuple(metrics))))


def merged(*records: bytes) -> Aggregates:
    """What the projector makes of records that follow each other."""
    flush, next_raw = Flush(), None
    for offset, value in enumerate(records):
        next_raw = merge_range(flush, None, next_raw, decode_rated(value, ""), offset)
    flush.settle()
    return flush.aggregates


def in_format_1(value: bytes, aggregates: Aggregates) -> bytes:
    """A record as it was written once: eleven fields for each aggregate, its numbers text."""
    record = json.loads(value)
    del record["metrics"]
    parts = [_part(key, aggregate) for key, aggregate in aggregates.items()]
    return json.dumps({**record, "format": 1, "aggregates": parts}).encode()


def _part(key: AggregateKey, aggregate: Aggregate) -> list[Any]:
    latest = aggregate.latest
    return [
        key.reference,
        str(key.metric_id),
        list(key.group),
        key.hour,
        aggregate.count,
        str(aggregate.total),
        None if aggregate.peak is None else str(aggregate.peak),
        None if latest is None else latest.occurred_at.isoformat().replace("+00:00", "Z"),
        None if latest is None else latest.offset,
        None if latest is None else str(latest.value),
        sorted(aggregate.distinct),
    ]


@given(st.lists(wire_events, min_size=1, max_size=20), metric_sets, st.data())
def test_what_is_folded_arrives_however_it_is_cut_and_in_whichever_format(
    posted: list[WireEvent], metrics: tuple[BillableMetric, ...], data: st.DataObject
) -> None:
    whole = rate(PARTITION, range(len(posted)), posted, Catalog(1, metrics)).aggregates
    cut = data.draw(st.integers(0, len(posted)))
    parts = [part for part in (posted[:cut], posted[cut:]) if part]
    firsts = [0, len(parts[0])]
    records = [rated(part, first, metrics) for part, first in zip(parts, firsts, strict=False)]
    assert merged(*records) == whole
    once = [
        in_format_1(
            record,
            rate(PARTITION, range(first, first + len(part)), part, Catalog(1, metrics)).aggregates,
        )
        for record, part, first in zip(records, parts, firsts, strict=False)
    ]
    assert merged(*once) == whole
    # A topic that was begun before, and goes on today.
    assert merged(once[0], *records[1:]) == whole


def one_record() -> bytes:
    """One event under metrics of every kind."""
    event = WireEvent("t", "c", "transfer", START, {"bytes": "7"})
    return rated([event], 5, EVERY_KIND)


@pytest.mark.parametrize("decode", [decode_rated, decode_rated_head])
@pytest.mark.parametrize("format_", [0, RATED_FORMAT + 1])
def test_a_record_of_a_format_that_is_not_known_is_refused(decode: Any, format_: int) -> None:
    foreign = json.dumps({**json.loads(one_record()), "format": format_}).encode()
    with pytest.raises(UnknownFormat, match=rf"usage.rated\[1\]@2 .*format {format_}"):
        decode(foreign, "usage.rated[1]@2")


@pytest.mark.parametrize("decode", [decode_rated, decode_rated_head])
@pytest.mark.parametrize("value", [None, b"", b"{}", b"junk", b"[1]", b'{"format":1}'])
def test_what_is_no_record_of_rating_is_refused(decode: Any, value: bytes | None) -> None:
    with pytest.raises(UnknownFormat, match="is not a record of rating"):
        decode(value, "usage.rated[1]@2")


def test_the_head_says_of_both_formats_what_the_whole_record_says() -> None:
    today = one_record()
    once = in_format_1(today, merged(today))
    for value, version in ((today, RATED_FORMAT), (once, 1)):
        head, whole = decode_rated_head(value, ""), decode_rated(value, "")
        assert (head.format, whole.format) == (version, version)
        for name in RatedHead.__struct_fields__:
            assert getattr(head, name) == getattr(whole, name)
        assert (head.first, head.last, head.counted) == (5, 5, 1)


@pytest.mark.parametrize(
    ("amounts", "written"),
    [
        (["1", "2"], 3),
        ([str(INTEGER_MAX - 2), "1"], INTEGER_MAX - 1),
        ([str(INTEGER_MAX - 1), "1"], str(INTEGER_MAX)),
        (["-1", str(-INTEGER_MAX + 1)], str(-INTEGER_MAX)),
        (["9" * 18, "9" * 18], str(2 * (10**18 - 1))),
        (["0.1", "2"], "2.1"),
    ],
)
def test_a_number_is_an_integer_where_every_reader_takes_it_exactly_and_else_text(
    amounts: list[str], written: int | str
) -> None:
    total = BillableMetric(UUID(int=1), "m", Aggregation.SUM, "bytes")
    posted = [WireEvent("t", "c", "transfer", START, {"bytes": amount}) for amount in amounts]
    value = rated(posted, 0, [total])
    [[_, [tally]]] = json.loads(value)["metrics"]
    assert tally[4] == [written]
    [aggregate] = merged(value).values()
    assert aggregate.total == sum(map(Decimal, amounts))
