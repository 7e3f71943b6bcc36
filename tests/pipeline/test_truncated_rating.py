"""Rating as Faust feeds it when usage.unique changes under its hands: truncated, delivered again or
made anew. Nothing is rated twice or past a gap, and the other partition goes on.
"""

import asyncio

import pytest

from services.runtime.log import RATED, RAW, UNIQUE
from services.runtime.records import decode_rated
from tests.pipeline.harness import PARTITIONS, Pipeline, event
from tests.pipeline.ranges import KEYS, drive, post, two_ranges


def test_rating_halts_a_partition_that_is_truncated_as_it_reads_and_the_other_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As Faust does it: it was at 2, and goes to the earliest record that is left, 3."""
    pipeline = two_ranges()

    async def scenario() -> None:
        for partition in range(PARTITIONS):
            await pipeline.rating.open(partition)
        for numbers in [(4, 5), (6, 7)]:
            post(pipeline, *numbers)
            await drive(pipeline, "dedup")
        pipeline.log.truncate(UNIQUE, 0, 3)
        for offset in (3, 2):
            for partition in range(PARTITIONS):
                await rate(pipeline, partition, offset)
        await rate(pipeline, 0, 3)  # once halted, nothing of it is taken

    asyncio.run(scenario())
    assert "usage.unique[0]: expected to go on at offset 2, found 3" in caplog.text
    assert last_rated_of(pipeline, 0) == 3
    assert last_rated_of(pipeline, 1) == 7


async def rate(pipeline: Pipeline, partition: int, offset: int) -> None:
    """Let rating take the record at an offset, if it is there."""
    for record in pipeline.log.partitions[UNIQUE, partition]:
        if record.offset == offset:
            await pipeline.rating.process(record)


def last_rated_of(pipeline: Pipeline, partition: int) -> int:
    """The last raw offset that was rated, each exactly once."""
    batches = [decode_rated(r.value, "") for r in pipeline.log.partitions[RATED, partition]]
    offsets = [o for batch in batches for o in range(batch.first, batch.last + 1)]
    assert offsets == list(range(len(offsets)))
    return offsets[-1]


def test_rating_that_is_given_old_records_again_skips_them_and_never_goes_back() -> None:
    pipeline = two_ranges()

    async def scenario() -> None:
        await pipeline.rating.open(0)
        post(pipeline, 4, 5)
        await drive(pipeline, "dedup")
        for offset in (0, 1, 2, 0, 1, 2, 1):
            await rate(pipeline, 0, offset)
        post(pipeline, 6, 7)
        await drive(pipeline, "dedup")
        await rate(pipeline, 0, 3)

    asyncio.run(scenario())
    assert last_rated_of(pipeline, 0) == 7
    sources = [decode_rated(r.value, "").source_offset for r in pipeline.log.partitions[RATED, 0]]
    assert sources == [0, 1, 2, 3]


@pytest.mark.parametrize("seen_by", ["record", "look"])
def test_rating_halts_when_its_topic_is_made_anew_as_it_reads(
    caplog: pytest.LogCaptureFixture, seen_by: str
) -> None:
    """Everything was made anew: new events come under raw offsets that look like repeats."""
    pipeline = two_ranges()

    async def scenario() -> None:
        for partition in range(PARTITIONS):
            await pipeline.rating.open(partition)
        pipeline.log.make_anew(RAW, 0)
        pipeline.log.make_anew(UNIQUE, 0)
        post(pipeline, 4, 5)
        await drive(pipeline, "dedup")
        if seen_by == "record":
            await rate(pipeline, 0, 0)
        else:
            await pipeline.rating.check_sources()
        await rate(pipeline, 1, 2)

    asyncio.run(scenario())
    assert "usage.unique[0]" in caplog.text
    assert "made anew" in caplog.text
    assert last_rated_of(pipeline, 0) == 3
    assert last_rated_of(pipeline, 1) == 5


def test_topics_made_anew_that_end_a_range_at_the_same_raw_offset_halt_rating() -> None:
    """Ranges of the same sizes: only the time of the record that was read last tells."""
    pipeline = two_ranges()
    for topic in (RAW, UNIQUE):
        pipeline.log.make_anew(topic, 0)
    pipeline.log.now_ms = 1
    fresh = Pipeline(log=pipeline.log, catalogs=pipeline.catalogs)
    for numbers in [(4, 5), (6, 7), (8, 9)]:
        fresh.post(*(event(KEYS[0][number]) for number in numbers))
        assert asyncio.run(drive(fresh.restarted(), "dedup")) == []
    [broken] = asyncio.run(drive(pipeline.restarted(), "rating"))
    assert (broken.topic, broken.partition) == (UNIQUE, 0)
    assert "made anew" in str(broken)
    assert last_rated_of(pipeline, 0) == 3


def test_looking_at_healthy_sources_halts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = two_ranges()

    async def scenario() -> None:
        for partition in range(PARTITIONS):
            await pipeline.rating.open(partition)
        await pipeline.rating.check_sources()
        pipeline.log.truncate(UNIQUE, 0, 1)  # what was read may go
        await pipeline.rating.check_sources()
        post(pipeline, 4, 5)
        await drive(pipeline, "dedup")
        for partition in range(PARTITIONS):
            await rate(pipeline, partition, 2)
        await pipeline.rating.check_sources()

    asyncio.run(scenario())
    assert caplog.text == ""
    assert last_rated_of(pipeline, 0) == 5


def test_what_is_not_delivered_is_rated_at_the_second_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Faust may step over records; without another one of the partition nobody would notice."""
    pipeline = two_ranges()

    async def scenario() -> None:
        for partition in range(PARTITIONS):
            await pipeline.rating.open(partition)
        await pipeline.rating.check_sources()
        post(pipeline, 4, 5)
        await drive(pipeline, "dedup")
        await rate(pipeline, 1, 2)
        await pipeline.rating.check_sources()
        assert last_rated_of(pipeline, 0) == 5
        post(pipeline, 6, 7)
        await drive(pipeline, "dedup")
        for offset in (2, 3):  # delivered after all
            for partition in range(PARTITIONS):
                await rate(pipeline, partition, offset)

    asyncio.run(scenario())
    assert "usage.unique[0] was not delivered up to 3" in caplog.text
    assert "usage.unique[1]" not in caplog.text
    assert last_rated_of(pipeline, 0) == last_rated_of(pipeline, 1) == 7


def test_rating_notices_when_what_it_wrote_last_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """The projector stands beyond the new record, and would not look at it."""
    pipeline = two_ranges()

    async def scenario() -> None:
        for partition in range(PARTITIONS):
            await pipeline.rating.open(partition)
        post(pipeline, 4, 5)
        await drive(pipeline, "dedup")
        for partition in range(PARTITIONS):
            await rate(pipeline, partition, 2)
        lost = pipeline.log.partitions[RATED, 0].pop()
        post(pipeline, 6, 7)
        await drive(pipeline, "dedup")
        for partition in range(PARTITIONS):
            await rate(pipeline, partition, 3)
        assert f"usage.rated[0]: expected to go on at offset {lost.offset + 1}" in caplog.text

    asyncio.run(scenario())
    assert "usage.rated[1]" not in caplog.text
    assert last_rated_of(pipeline, 1) == 7
