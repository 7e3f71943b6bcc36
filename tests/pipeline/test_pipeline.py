"""The chain of ranges end to end in memory: what is posted is counted once, whatever is repeated,
lost from the index, or done twice.
"""

import asyncio
from decimal import localcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric
from services.domain.partition import partition_of
from services.rating.catalog_memory import MemoryCatalogSource
from services.runtime.log import RATED, RAW, UNIQUE
from services.runtime.records import decode_rated, decode_unique
from tests.pipeline.harness import BYTES, PARTITIONS, SUM_OF_BYTES, Pipeline, event


def run(pipeline: Pipeline) -> Pipeline:
    asyncio.run(pipeline.run())
    return pipeline


def test_the_walk_through_counts_the_duplicate_once() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a", "5000"), event("b", "1000"), event("a", "5000"))
    run(pipeline)
    assert pipeline.total() == 6000
    assert pipeline.fates() == {
        "counted": 2, "duplicates": 1, "conflicts": 0, "rejected": 0, "unmatched": 0,
    }  # fmt: skip


def test_same_id_with_other_content_is_a_conflict_not_counted_and_to_be_found() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a", "1"), event("a", "5000"))
    run(pipeline)
    pipeline.log.now_ms = 9_000
    pipeline.post(event("a", "1"), event("a", "7"), event("a", "5"))
    run(pipeline.restarted())
    assert pipeline.total() == 1
    assert pipeline.fates()["conflicts"] == 3
    assert pipeline.fates()["duplicates"] == 4
    partition = partition_of("a", PARTITIONS)
    found = pipeline.projection.conflicts
    assert set(found) == {(partition, 1), (partition, 3), (partition, 4)}
    assert {(c.first_offset, c.transaction_id) for c in found.values()} == {(0, "a")}
    assert [c.ingested_at_ms for c in found.values()] == [0, 9_000, 9_000]


def test_of_an_overlap_exactly_the_conflicts_in_its_new_part_go_on() -> None:
    """A paused dedup worker writes a longer range over one that was rated."""
    pipeline = Pipeline()
    pipeline.post(event("a", "1"), event("a", "2"))
    stale = pipeline.restarted()
    asyncio.run(_open_all(stale))
    run(pipeline)
    pipeline.post(event("a", "1"), event("a", "3"))
    asyncio.run(_process_all(stale))
    run(pipeline.restarted())
    assert [c.offset for c in pipeline.projection.conflicts.values()] == [1, 3]
    assert pipeline.fates()["conflicts"] == 2
    assert pipeline.fates()["duplicates"] == 3


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=120),
    st.lists(st.sampled_from(["dedup", "rating", "projector", "flush"]), max_size=20),
)
def test_every_event_counts_once_however_the_stages_interleave(
    posts: list[tuple[int, bool]], schedule: list[str]
) -> None:
    """Each id is worth a power of two, so the total names exactly which ids were counted."""
    pipeline = Pipeline()

    async def drive() -> Pipeline:
        current = pipeline
        turns = iter(schedule)
        for number, step in posts:
            current.post(event(str(number), str(2**number)))
            if not step:
                continue
            current = current.restarted()
            stage = next(turns, "dedup")
            if stage == "flush":
                current.index.seen.clear()
                current.index.marks.clear()
                continue
            for partition in range(PARTITIONS):
                await getattr(current, f"run_{stage}")(partition)
        await current.run()
        return current

    final = asyncio.run(drive())
    assert final.total() == sum(2**number for number in {number for number, _ in posts})
    fates = final.fates()
    assert fates["counted"] + fates["duplicates"] + fates["rejected"] == len(posts)


def test_a_crash_between_claim_and_append_loses_nothing() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a", "5000"), event("b", "1000"))

    async def lost(topic: str, partition: int, value: bytes) -> int:
        raise ConnectionError("killed here")

    append, pipeline.log.append = pipeline.log.append, lost  # type: ignore[method-assign]  # crash
    with pytest.raises(ConnectionError):
        run(pipeline)
    pipeline.log.append = append  # type: ignore[method-assign]  # the crash is over
    assert run(pipeline.restarted()).total() == 6000


def test_an_index_that_lost_everything_is_restored_from_the_log() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a", "5000"), event("b", "1000"))
    run(pipeline)
    pipeline.index.seen.clear()
    pipeline.index.marks.clear()
    pipeline.post(event("a", "5000"), event("b", "1000"), event("c", "1"))
    assert run(pipeline.restarted()).total() == 6001


def test_without_the_mark_a_lost_index_would_count_twice() -> None:
    """Negative control: the test above notices when the mark is not checked."""
    pipeline = Pipeline()
    pipeline.post(event("a", "5000"))
    run(pipeline)
    pipeline.index.seen.clear()  # the ids are lost, the mark claims that they are not
    pipeline.post(event("a", "5000"))
    assert run(pipeline.restarted()).total() == 10000


def test_ranges_repeated_by_a_paused_worker_are_trimmed_and_skipped() -> None:
    pipeline = Pipeline()
    pipeline.post(*(event(str(number), str(2**number)) for number in range(20)))
    stale = pipeline.restarted()
    asyncio.run(_open_all(stale))
    run(pipeline)
    pipeline.post(*(event(str(number), str(2**number)) for number in range(15, 25)))
    asyncio.run(_process_all(stale))  # the paused worker goes on and repeats, then some more
    run(pipeline.restarted())
    assert pipeline.total() == 2**25 - 1
    for partition in range(PARTITIONS):
        raters = pipeline.log.partitions[RATED, partition]
        ranges = [decode_rated(r.value, "") for r in raters]
        assert all(a.last + 1 == b.first for a, b in pairwise(ranges))


async def _open_all(pipeline: Pipeline) -> None:
    for partition in range(PARTITIONS):
        await pipeline.dedup.open(partition)


async def _process_all(pipeline: Pipeline) -> None:
    for partition in range(PARTITIONS):
        records = pipeline.log.partitions[RAW, partition]
        assert not await pipeline.dedup.process({partition: records})


def test_a_gap_stops_its_partition_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = Pipeline()
    pipeline.post(*(event(str(number), str(2**number)) for number in range(12)))
    run(pipeline)
    pipeline.post(*(event(str(number), str(2**number)) for number in range(12, 24)))
    asyncio.run(pipeline.run_dedup(0))
    asyncio.run(pipeline.run_dedup(1))
    pipeline.post(*(event(str(number), str(2**number)) for number in range(24, 36)))
    asyncio.run(pipeline.run_dedup(0))
    records = pipeline.log.partitions[UNIQUE, 0]
    del records[1]  # the second range is gone
    run(pipeline.restarted())
    assert "usage.unique[0]" in caplog.text
    assert "missing" in caplog.text
    counted = {str(n) for n in range(36) if int(pipeline.total()) >> n & 1}
    assert {n for n in counted if partition_of(n, 2) == 0} == {
        str(n) for n in range(12) if partition_of(str(n), 2) == 0
    }
    assert {n for n in counted if partition_of(n, 2) == 1} == {
        str(n) for n in range(36) if partition_of(str(n), 2) == 1
    }


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"x", b"not json", "not_json"),
        (b"x", b"", "not_json"),
        (b"x", None, "not_json"),
        (b"x", b"[1]", "not_json"),
        (b"x", b'{"transaction_id": 5}', "not_an_event"),
        (None, b"\xff\xfe", "not_json"),
    ],
)
def test_records_of_others_are_rejected_with_everything_kept(
    key: bytes | None, value: bytes | None, reason: str
) -> None:
    pipeline = Pipeline()
    pipeline.post(event("before", "1"))
    pipeline.log.put(RAW, 0, key, value)
    pipeline.post(event("after", "2"))
    run(pipeline)
    assert pipeline.total() == 3
    assert pipeline.fates()["rejected"] == 1
    [(partition, _, rejection)] = pipeline.projection.rejections
    assert (partition, rejection.reason, rejection.key, rejection.value) == (0, reason, key, value)


def test_a_record_in_the_wrong_partition_or_under_another_key_is_rejected() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a", "1"))
    own = partition_of("a", PARTITIONS)
    record = pipeline.log.partitions[RAW, own][0]
    pipeline.log.put(RAW, 1 - own, record.key, record.value)
    pipeline.log.put(RAW, own, b"other", record.value)
    run(pipeline)
    assert pipeline.total() == 1
    reasons = {rejection.reason for _, _, rejection in pipeline.projection.rejections}
    assert reasons == {"wrong_partition", "wrong_key"}


def test_what_is_not_a_number_is_rejected_with_its_bytes_and_never_counted_as_zero() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a", "1"), event("b", "many"), event("c", "2"))
    run(pipeline)
    assert pipeline.total() == 3
    assert pipeline.fates()["rejected"] == 1
    [(_, version, rejection)] = pipeline.projection.rejections
    assert version == 1
    assert rejection.reason == "not_a_number"
    assert rejection.metric_id == BYTES
    assert rejection.key == b"b"
    assert b'"many"' in (rejection.value or b"")


def test_a_metric_made_before_the_event_was_posted_counts_it() -> None:
    """The catalog is asked for after the batch was received, never before."""
    pipeline = Pipeline(catalogs=MemoryCatalogSource(Catalog(1, ())))
    pipeline.post(event("a", "1"))
    run(pipeline)
    pipeline.catalogs.catalog = Catalog(2, (SUM_OF_BYTES,))
    pipeline.post(event("b", "2"))
    run(pipeline)
    assert pipeline.total() == 2
    assert pipeline.fates()["unmatched"] == 1


def test_digits_survive_every_stage() -> None:
    pipeline = Pipeline()
    tiny = "0.00000000000000000000000000000000000001"
    pipeline.post(event("a", tiny), event("b", "9" * 38))
    run(pipeline)
    with localcontext(prec=100):
        [total] = pipeline.by_region().values()
    assert f"{total:f}" == "9" * 38 + tiny[1:]


def test_two_metrics_count_the_same_event_each_for_itself() -> None:
    count = BillableMetric(BYTES, "events", Aggregation.COUNT)
    pipeline = Pipeline(catalogs=MemoryCatalogSource(Catalog(1, (count,))))
    pipeline.post(event("a", "many"), event("b", "1"))
    run(pipeline)
    assert sum(a.count for a in pipeline.projection.aggregates.values()) == 2


def test_every_offset_of_a_range_has_one_fate() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a"), event("a"), event("a", "2"), event("b", "x"), event("c"))
    pipeline.log.put(RAW, 0, b"x", b"junk")
    run(pipeline)
    fates = pipeline.fates()
    assert fates["counted"] + fates["duplicates"] + fates["rejected"] == pipeline.accepted()
    for partition in range(PARTITIONS):
        for record in pipeline.log.partitions[UNIQUE, partition]:
            batch = decode_unique(record.value, "")
            assert len(batch.events) == len(batch.offsets)
