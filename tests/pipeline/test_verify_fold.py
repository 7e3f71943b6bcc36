"""The fold of a deep verify over the memory log: from usage.raw and from usage.unique it says the
same, each range under the catalog that rated it, and it refuses a log that lacks something.
"""

import asyncio
from collections.abc import Callable

import pytest

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric
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


def fold(pipeline: Pipeline, rows: RawRow | None = None, floor: int = 0) -> Folded:
    """All partitions up to where they are projected."""
    rows = rows_of(pipeline) if rows is None else rows
    folded = Folded()

    async def drive() -> None:
        for partition, held in rows.items():
            await fold_partition(
                pipeline.log,
                partition,
                held,
                Catalogs(HISTORY, floor),
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


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (drop(RATED), "usage.rated[0] ends at 1"),
        (drop(RAW), "usage.raw[0] has no record at raw offset 1"),
        (trimmed(RATED, 1), "usage.rated[0] begins at offset 1"),
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


@pytest.mark.parametrize("tamper", [drop(UNIQUE), trimmed(UNIQUE, 1)])
def test_usage_unique_that_lacks_something_is_not_folded(
    tamper: Callable[[Pipeline], None],
) -> None:
    pipeline = traffic()
    rows = rows_of(pipeline)
    trimmed(RAW, 3)(pipeline)
    tamper(pipeline)
    with pytest.raises(CannotFold, match=r"usage\.unique"):
        fold(pipeline, rows)
