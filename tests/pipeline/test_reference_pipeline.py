"""The real stages against the oracle: every raw offset has the oracle's fate, every aggregate its
amount, whatever stands on usage.raw and however the stages are cut. And the comparison can fail.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.aggregate import Aggregate
from services.domain.catalog import Catalog
from services.domain.dedup import DIGEST_BYTES
from services.domain.meter import BillableMetric
from services.domain.reference.fold import HOUR_MS, Fate, PartitionFold, RawRecord, Totals, fold
from services.domain.reference.usage import Usage
from services.domain.tally import Tally
from services.rating.catalog_memory import MemoryCatalogSource
from services.runtime.log import RATED, RAW, UNIQUE
from services.runtime.records import decode_rated, decode_unique
from tests.domain.raw_records import INSTANTS, Posted, logs, written_event
from tests.domain.reference_cases import EVERY_KIND, as_usage, metric_sets
from tests.pipeline.harness import PARTITIONS, Pipeline

# Enough for a log to be in the 34 days after the epoch's first hours, too.
FIRST_HOUR = 490_000
FATES = ("counted", "duplicates", "conflicts", "rejected", "unmatched")


def put(pipeline: Pipeline, posts: Iterable[tuple[int, Posted]]) -> None:
    """Records on usage.raw, each so many hours after the one before."""
    for later, post in posts:
        pipeline.log.now_ms += later * HOUR_MS
        pipeline.log.put(RAW, post.partition(PARTITIONS), post.key, post.value)


def catalogs_used(pipeline: Pipeline, partition: int) -> list[tuple[int, int]]:
    """(last raw offset, catalog version) of every range that was rated."""
    ranges = [
        decode_rated(record.value, RATED) for record in pipeline.log.partitions[RATED, partition]
    ]
    return [(rated.last, rated.catalog_version) for rated in ranges]


def folded(
    pipeline: Pipeline,
    partition: int,
    usage: Usage,
    versions: dict[int, tuple[BillableMetric, ...]],
) -> tuple[dict[int, Fate], Totals]:
    """The oracle over one partition's log."""
    used = catalogs_used(pipeline, partition)

    def metrics_at(offset: int) -> tuple[BillableMetric, ...]:
        return versions[next(version for last, version in used if offset <= last)]

    oracle = PartitionFold(partition, PARTITIONS, metrics_at, usage)
    records = (
        RawRecord(record.offset, record.timestamp_ms, record.key, record.value)
        for record in pipeline.log.partitions[RAW, partition]
    )
    return dict(fold(oracle, records)), oracle.totals


def verdicts(pipeline: Pipeline, partition: int) -> dict[int, str]:
    """What dedup made of every offset; events that were passed on are "counted"."""
    kinds: dict[int, str] = {}
    for record in pipeline.log.partitions[UNIQUE, partition]:
        batch = decode_unique(record.value, UNIQUE)
        kinds |= dict.fromkeys(range(batch.first, batch.last + 1), "duplicate")
        kinds |= {batch.first + offset: "counted" for offset in batch.offsets}
        kinds |= {batch.first + clash.offset: "conflict" for clash in batch.conflicts}
        kinds |= {batch.first + rejected.offset: "rejected" for rejected in batch.rejected}
    return kinds


def compare(pipeline: Pipeline, versions: dict[int, tuple[BillableMetric, ...]]) -> None:
    """Fates, totals and amounts are the oracle's."""
    usage: Usage = {}
    conflicts: dict[tuple[int, int], int] = {}
    for partition in range(PARTITIONS):
        fates, totals = folded(pipeline, partition, usage, versions)
        for offset, kind in verdicts(pipeline, partition).items():
            # What a metric refuses is unique to dedup.
            assert fates[offset].kind in ({kind, "rejected"} if kind == "counted" else {kind})
        found = pipeline.projection.fates.get(partition)
        wanted = {name: getattr(totals, name) for name in FATES}
        assert wanted == {name: getattr(found, name, 0) for name in FATES}
        rejections = [place for place, _, _ in pipeline.projection.rejections]
        assert totals.refusals == rejections.count(partition)
        conflicts |= {
            (partition, offset): fate.first
            for offset, fate in fates.items()
            if fate.first is not None
        }
    rows = pipeline.projection.conflicts
    assert conflicts == {place: conflict.first_offset for place, conflict in rows.items()}
    assert usage == as_usage(pipeline.projection.aggregates)


@given(logs(), metric_sets, metric_sets, st.data())
def test_whatever_stands_in_the_log_the_stages_do_what_the_oracle_does(
    log: list[tuple[int, Posted]],
    before: tuple[BillableMetric, ...],
    after: tuple[BillableMetric, ...],
    data: st.DataObject,
) -> None:
    """With stages that are started anew, and a catalog that changes, between two records."""
    pipeline = Pipeline(catalogs=MemoryCatalogSource(Catalog(1, before)))
    pipeline.log.now_ms = FIRST_HOUR * HOUR_MS
    cut = data.draw(st.integers(0, len(log)))

    async def drive() -> None:
        put(pipeline, log[:cut])
        await pipeline.run()
        pipeline.catalogs.catalog = Catalog(2, after)
        put(pipeline, log[cut:])
        await pipeline.restarted().run()

    asyncio.run(drive())
    compare(pipeline, {1: before, 2: after})


def one_of_each() -> Pipeline:
    """A log with every fate in it, through the real stages, in two flushes."""
    pipeline = Pipeline(catalogs=MemoryCatalogSource(Catalog(1, EVERY_KIND)))
    pipeline.log.now_ms = FIRST_HOUR * HOUR_MS

    def sent(name: str, amount: str) -> tuple[int, Posted]:
        return 0, Posted(name, written_event(name, INSTANTS[0], {"bytes": amount}))

    first = [sent(str(number), str(number)) for number in range(20)]
    again = [sent("1", "1"), sent("2", "9"), sent("odd", '"NaN"'), (0, Posted("j", b"junk"))]

    async def drive() -> None:
        put(pipeline, first)
        await pipeline.run()
        put(pipeline, [*again, *(sent(f"more {number}", "5") for number in range(20))])
        await pipeline.run()

    asyncio.run(drive())
    return pipeline


def test_a_log_with_every_fate_is_what_the_oracle_says() -> None:
    pipeline = one_of_each()
    compare(pipeline, {1: EVERY_KIND})
    # The COUNT and the UNIQUE metric take what is no number, so nothing is refused by all.
    assert pipeline.fates() == {
        "counted": 41, "duplicates": 2, "conflicts": 1, "rejected": 1, "unmatched": 0,
    }  # fmt: skip


def without(name: str) -> Any:
    """`Aggregate.merge` that forgets one of its parts."""
    merge = Aggregate.merge

    def forgetful(self: Aggregate, other: Aggregate) -> None:
        held = getattr(self, name)
        kept = set(held) if isinstance(held, set) else held
        merge(self, other)
        setattr(self, name, kept)

    return forgetful


@pytest.mark.parametrize("part", ["count", "total", "peak", "latest", "distinct"])
def test_a_merge_that_forgets_a_part_is_found(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Aggregate, "merge", without(part))
    pipeline = one_of_each()
    with pytest.raises(AssertionError):
        compare(pipeline, {1: EVERY_KIND})


@pytest.mark.parametrize(
    "name", ["add_counts", "add_totals", "add_peaks", "add_latest", "add_distinct"]
)
def test_a_tally_that_forgets_a_part_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(*_: object) -> None:
        """Adds nothing."""

    monkeypatch.setattr(Tally, name, forgetful)
    pipeline = one_of_each()
    with pytest.raises(AssertionError):
        compare(pipeline, {1: EVERY_KIND})


def test_a_verdict_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every id looks new."""
    numbers = iter(range(1_000))
    monkeypatch.setattr(
        "services.dedup.judge.digest_of", lambda _: next(numbers).to_bytes(DIGEST_BYTES, "big")
    )
    pipeline = one_of_each()
    assert pipeline.fates()["duplicates"] == 0
    with pytest.raises(AssertionError):
        compare(pipeline, {1: EVERY_KIND})


def test_a_total_that_was_added_twice_is_found() -> None:
    pipeline = one_of_each()
    key = next(iter(pipeline.projection.aggregates))
    pipeline.projection.aggregates[key].count += 1
    with pytest.raises(AssertionError):
        compare(pipeline, {1: EVERY_KIND})
