"""The fold of a deep verify over the memory log: from usage.raw and from usage.unique it says the
same, each range under the catalog that rated it, and it refuses a log that lacks something.
"""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric
from services.ops.verify_deep import explain_older
from services.ops.verify_differences import SHOWN_MAX, Differences
from services.ops.verify_fold import CannotFold, Catalogs, Folded, fold_partition
from services.rating.catalog_memory import MemoryCatalogSource
from services.runtime.log import RATED, RAW, UNIQUE
from services.runtime.metric_rows import CatalogHistory, DatedMetric
from tests.domain.reference_cases import EVERY_KIND, as_usage
from tests.pipeline.harness import PARTITIONS, Pipeline, event
from tests.pipeline.test_conservation import RawRow, rows_of

# Metric 0 is there from the start and archived at version 2, where the others begin.
HISTORY = CatalogHistory(
    2,
    [
        DatedMetric(metric, 2 if number else 1, None if number else 2)
        for number, metric in enumerate(EVERY_KIND)
    ],
)


def traffic() -> Pipeline:
    """Every fate under two catalogs; the last range is not projected yet."""
    first, *others = EVERY_KIND
    pipeline = Pipeline(catalogs=MemoryCatalogSource(Catalog(1, (first,))))

    async def drive() -> None:
        for version, metrics in ((1, [first]), (2, others)):
            pipeline.catalogs.catalog = Catalog(version, tuple(metrics))
            pipeline.post(*(event(f"{number // version}", str(number)) for number in range(20)))
            pipeline.post(event(f"odd {version}", "many"))
            for partition in range(PARTITIONS):
                pipeline.log.put(RAW, partition, None, b"junk")
            await pipeline.run()
        pipeline.post(*(event(f"late {number}") for number in range(20)))
        for partition in range(PARTITIONS):
            await pipeline.run_dedup(partition)
            await pipeline.run_rating(partition)

    asyncio.run(drive())
    return pipeline


def fold(
    pipeline: Pipeline,
    rows: RawRow | None = None,
    floor: int = 0,
    catalogs: Catalogs | None = None,
) -> Folded:
    """All partitions up to where they are projected."""
    catalogs = catalogs or Catalogs(HISTORY, floor)
    rows = rows_of(pipeline) if rows is None else rows
    folded = Folded()

    async def drive() -> None:
        for partition, held in rows.items():
            await fold_partition(
                pipeline.log,
                partition,
                held,
                catalogs,
                partitions=PARTITIONS,
                into=folded,
            )

    asyncio.run(drive())
    return folded


def trimmed(topic: str, offset: int) -> Callable[[Pipeline], None]:
    """Retention took the beginning of a topic."""

    def tamper(pipeline: Pipeline) -> None:
        for partition in range(PARTITIONS):
            pipeline.log.truncate(topic, partition, offset)

    return tamper


def test_the_fold_is_what_was_projected_and_nothing_later() -> None:
    pipeline = traffic()
    folded = fold(pipeline)
    assert folded.usage == as_usage(pipeline.projection.aggregates)
    totals = folded.totals.values()
    assert sum(total.counted for total in totals) == pipeline.fates()["counted"]
    assert sum(folded.refusals.values()) == len(pipeline.projection.rejections)
    assert folded.conflicts
    rows = pipeline.projection.conflicts
    assert folded.conflicts == {place: row.first_offset for place, row in rows.items()}
    assert all(RAW in source for source in folded.sources.values())


def test_from_usage_unique_it_says_the_same() -> None:
    pipeline = traffic()
    whole = fold(pipeline)
    trimmed(RAW, 3)(pipeline)
    again = fold(pipeline)
    assert all(UNIQUE in source for source in again.sources.values())
    assert (again.usage, again.totals) == (whole.usage, whole.totals)
    assert (again.refusals, again.conflicts) == (whole.refusals, whole.conflicts)


def test_a_generation_of_a_newer_catalog_counts_a_later_metric_from_the_start() -> None:
    """As a replay does: the archived metric still counts what was rated before it was archived."""
    pipeline = traffic()
    live, replayed = fold(pipeline), fold(pipeline, floor=2)
    of = {metric.id for metric in EVERY_KIND[1:]}
    assert sum(key.metric_id in of for key in replayed.usage) > 0
    count = BillableMetric(EVERY_KIND[0].id, "COUNT", Aggregation.COUNT)
    for folded in (live, replayed):
        counted = [a.count for key, a in folded.usage.items() if key.metric_id == count.id]
        assert sum(counted) == 21
    assert sum(a.count for a in replayed.usage.values()) > sum(a.count for a in live.usage.values())


def drop(topic: str, partition: int = 0) -> Callable[[Pipeline], None]:
    """All but the first record of a topic is gone."""

    def tamper(pipeline: Pipeline) -> None:
        del pipeline.log.partitions[topic, partition][1:]

    return tamper


def hole(topic: str) -> Callable[[Pipeline], None]:
    """The second record is gone, what follows is there."""

    def tamper(pipeline: Pipeline) -> None:
        del pipeline.log.partitions[topic, 0][1]

    return tamper


def foreign(topic: str) -> Callable[[Pipeline], None]:
    """Something else stands where a topic began."""

    def tamper(pipeline: Pipeline) -> None:
        records = pipeline.log.partitions[topic, 0]
        records[0] = replace(records[0], value=b'{"not": "ours"}')

    return tamper


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (drop(RATED), "usage.rated[0] ends at 1"),
        (drop(RAW), "usage.raw[0] has no record at raw offset 1"),
        (hole(RAW), "usage.raw[0] has no record at raw offset 1"),
        (trimmed(RATED, 1), "usage.rated[0]: offset 0 is gone, the log begins at 1: restore"),
        (foreign(RATED), "usage.rated[0]@0 is not a record of rating"),
    ],
)
def test_a_log_that_lacks_something_is_not_folded(
    tamper: Callable[[Pipeline], None], what: str
) -> None:
    pipeline = traffic()
    rows = rows_of(pipeline)
    tamper(pipeline)
    with pytest.raises(CannotFold) as refused:
        fold(pipeline, rows)
    assert what in str(refused.value)


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (drop(UNIQUE), "usage.unique[0] has no record at offset 1"),
        (trimmed(UNIQUE, 1), "usage.unique[0]: offset 0 is gone, the log begins at 1: restore"),
        (foreign(UNIQUE), "usage.unique[0]@0 is not a record of dedup"),
    ],
)
def test_usage_unique_that_lacks_something_is_not_folded(
    tamper: Callable[[Pipeline], None], what: str
) -> None:
    pipeline = traffic()
    rows = rows_of(pipeline)
    trimmed(RAW, 3)(pipeline)
    tamper(pipeline)
    with pytest.raises(CannotFold) as refused:
        fold(pipeline, rows)
    assert what in str(refused.value)


def test_retention_that_deletes_during_the_fold_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything was there when the bounds were looked at."""
    pipeline = traffic()
    rows = rows_of(pipeline)
    bounds = pipeline.log.bounds

    async def bounds_and_then_less(asked: str, partition: int) -> tuple[int, int]:
        found = await bounds(asked, partition)
        if asked == RAW:
            pipeline.log.truncate(RAW, partition, 3)
        return found

    monkeypatch.setattr(pipeline.log, "bounds", bounds_and_then_less)
    with pytest.raises(CannotFold, match=r"usage\.raw\[0\]: offset 0 is gone.*look again"):
        fold(pipeline, rows)


def test_a_position_of_a_partition_that_is_not_there_is_not_waited_for() -> None:
    pipeline = traffic()
    rows = rows_of(pipeline)
    rows[PARTITIONS] = rows[0]
    with pytest.raises(CannotFold, match=f"position for partition {PARTITIONS}, but there are"):
        fold(pipeline, rows)


def test_a_range_of_a_catalog_that_the_database_does_not_know_is_not_folded() -> None:
    """The database is an older copy."""
    with pytest.raises(CannotFold, match="under catalog version 2, the database knows 1"):
        fold(traffic(), catalogs=Catalogs(CatalogHistory(1, []), 0))


def test_ranges_of_a_rater_that_slept_through_a_promotion_are_named_first() -> None:
    """The first catalog's ranges came 1 s after a generation of the second was promoted."""
    pipeline = traffic()
    ends = {place: held.next_raw for place, held in pipeline.projection.held.items()}
    assert fold(pipeline, catalogs=Catalogs(HISTORY, 2, promoted_ms=1)).older == []
    pipeline.log.partitions[RATED, 1][0] = replace(
        pipeline.log.partitions[RATED, 1][0], timestamp_ms=1_000
    )
    folded = fold(pipeline, catalogs=Catalogs(HISTORY, 2, promoted_ms=1_000))
    [older] = folded.older
    assert (older.partition, older.first, older.catalog_version) == (1, 0, 1)
    assert 0 < older.last < ends[1] - 1
    differences = Differences()
    explain_older(folded, 2, differences)
    assert differences.count == 0  # both catalogs counted the same
    for number in range(SHOWN_MAX + 5):
        differences.add(f"usage_hour {number}", 1, 0)
    explain_older(folded, 2, differences)
    assert (differences.count, len(differences.first)) == (SHOWN_MAX + 6, SHOWN_MAX)
    first = differences.first[0]
    assert first.where == f"usage.rated, partition 1, raw offsets 0 to {older.last}"
    assert "a new replay repairs it" in first.found
