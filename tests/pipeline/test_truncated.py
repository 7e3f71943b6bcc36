"""A truncated or re-made topic is a gap at every hop, in memory: the stage says which topic and
partition, counts nothing past it, and the other partition goes on.
"""

import asyncio

import pytest

from services.domain.chain import ChainBroken
from services.runtime.log import RATED, RAW, UNIQUE, Record
from tests.pipeline.harness import PARTITIONS, Pipeline, event
from tests.pipeline.ranges import KEYS, counted, drive, post, two_ranges

STAGES = {RAW: "dedup", UNIQUE: "rating", RATED: "projector"}


@pytest.mark.parametrize("topic", [RAW, UNIQUE, RATED])
def test_a_topic_truncated_past_the_position_of_its_reader_stops_that_partition(
    topic: str,
) -> None:
    pipeline = two_ranges()
    before = {RAW: [], UNIQUE: ["dedup"], RATED: ["dedup", "rating"]}[topic]
    for numbers in [(4, 5), (6, 7)]:
        post(pipeline, *numbers)
        if before:
            assert asyncio.run(drive(pipeline, *before)) == []
    place = {RAW: 5, UNIQUE: 3, RATED: 3}[topic]
    pipeline.log.truncate(topic, 0, place)
    found = asyncio.run(drive(pipeline.restarted()))
    [broken] = found
    assert (broken.topic, broken.partition) == (topic, 0)
    assert (broken.expected, broken.found) == ({RAW: 4, UNIQUE: 2, RATED: 2}[topic], place)
    assert f"{topic}[0]" in str(broken)
    assert counted(pipeline, 0) == {0, 1, 2, 3}
    assert counted(pipeline, 1) == set(range(8))


@pytest.mark.parametrize("topic", [RAW, UNIQUE, RATED])
def test_what_was_read_may_go(topic: str) -> None:
    """Retention takes what every reader has passed: nobody misses it."""
    pipeline = two_ranges()
    start = {RAW: 4, UNIQUE: 1, RATED: 1}[topic]
    pipeline.log.truncate(topic, 0, start)
    post(pipeline, 4, 5)
    assert asyncio.run(drive(pipeline.restarted())) == []
    assert counted(pipeline, 0) == set(range(6))


@pytest.mark.parametrize("topic", [UNIQUE, RATED])
def test_a_checkpoint_that_was_deleted_is_no_first_start(topic: str) -> None:
    pipeline = two_ranges()
    pipeline.log.truncate(topic, 0, 2)
    post(pipeline, 4, 5)
    found = asyncio.run(drive(pipeline.restarted()))
    assert (found[0].topic, found[0].partition) == (topic, 0)
    assert counted(pipeline, 0) == {0, 1, 2, 3}
    assert counted(pipeline, 1) == set(range(6))


@pytest.mark.parametrize(("topic", "reader"), [(UNIQUE, "rating"), (RATED, "projector")])
def test_a_reader_that_never_read_does_not_begin_in_the_middle(topic: str, reader: str) -> None:
    pipeline = Pipeline()
    before = ["dedup"] if topic == UNIQUE else ["dedup", "rating"]
    for numbers in [(0, 1), (2, 3)]:
        post(pipeline, *numbers)
        asyncio.run(drive(pipeline, *before))
    pipeline.log.truncate(topic, 0, 1)
    [found] = asyncio.run(drive(pipeline.restarted(), reader))
    assert (found.topic, found.partition, found.expected, found.found) == (topic, 0, 0, 1)
    asyncio.run(drive(pipeline.restarted()))
    assert counted(pipeline, 0) == set()
    assert counted(pipeline, 1) == {0, 1, 2, 3}


@pytest.mark.parametrize("grown", [0, 1, 3])
@pytest.mark.parametrize("topic", [RAW, UNIQUE, RATED])
def test_a_topic_made_anew_stops_its_reader_however_much_is_in_it_again(
    topic: str, grown: int
) -> None:
    pipeline = two_ranges()
    taken = list(pipeline.log.partitions[topic, 0])
    pipeline.log.make_anew(topic, 0)
    pipeline.log.now_ms = 5_000
    for number in range(grown * len(taken)):
        # The next records of the same kind: other ranges under old offsets.
        record = taken[number % len(taken)]
        pipeline.log.put(topic, 0, record.key, record.value)
    found = asyncio.run(drive(pipeline.restarted(), STAGES[topic]))
    if topic == RATED and grown:
        # Its ranges say which raw offsets they are: here all were counted.
        assert found == []
    elif topic == UNIQUE and grown:
        assert found == []  # the very same ranges at the very same offsets
    else:
        assert [(b.topic, b.partition) for b in found] == [(topic, 0)]
    assert counted(pipeline, 0) == {0, 1, 2, 3}
    assert counted(pipeline, 1) == {0, 1, 2, 3}


def test_without_the_time_of_the_last_record_a_usage_raw_made_anew_would_lose_events() -> None:
    """Negative control: with the same times the bounds fit, and what lies below the checkpoint is
    never judged."""
    pipeline = two_ranges()
    pipeline.log.make_anew(RAW, 0)
    pipeline.post(*(event(key) for key in KEYS[0][8:14]))  # six, the first four at old offsets
    assert asyncio.run(drive(pipeline.restarted(), "dedup")) == []
    assert asyncio.run(drive(pipeline.restarted())) == []
    assert pipeline.fates()["counted"] == 8 + 2


@pytest.mark.parametrize("topic", [RAW, UNIQUE])
def test_an_end_that_is_lost_while_the_reader_opens_stops_only_that_partition(
    monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    """After its bounds were read and before the record that stands at the checkpoint."""
    pipeline = two_ranges()
    bounds = pipeline.log.bounds

    async def losing(of: str, partition: int) -> tuple[int, int]:
        found = await bounds(of, partition)
        if (of, partition) == (topic, 0):
            del pipeline.log.partitions[of, partition][1:]
        return found

    monkeypatch.setattr(pipeline.log, "bounds", losing)
    [broken] = asyncio.run(drive(pipeline.restarted(), STAGES[topic]))
    assert (broken.topic, broken.partition) == (topic, 0)


def lose(pipeline: Pipeline, mark: int | None) -> None:
    """The index of partition 0 goes back to a mark."""
    index = pipeline.index
    for key, sighting in list(index.seen.items()):
        if key[0] == 0 and (mark is None or sighting.offset > mark):
            del index.seen[key]
    if mark is None:
        index.marks.pop(0)
    else:
        index.marks[0] = mark


@pytest.mark.parametrize(("mark", "enough"), [(None, False), (0, False), (1, True), (3, True)])
def test_an_index_that_usage_unique_cannot_restore_stops_its_partition(
    mark: int | None, enough: bool
) -> None:
    """The first range, raw offsets 0 and 1, is gone from usage.unique; the events come again."""
    pipeline = two_ranges()
    pipeline.log.truncate(UNIQUE, 0, 1)
    lose(pipeline, mark)
    post(pipeline, 0, 1, 2, 3)
    current = pipeline.restarted()

    async def dedup() -> list[ChainBroken]:
        records: dict[int, list[Record]] = {}
        for partition in range(PARTITIONS):
            offset = await current.dedup.open(partition)
            records[partition] = pipeline.log.partitions[RAW, partition][offset:]
        return await current.dedup.process(records)

    found = asyncio.run(dedup())
    if enough:
        assert found == []
        asyncio.run(drive(pipeline.restarted()))
        assert pipeline.fates()["duplicates"] == 8
    else:
        [broken] = found
        assert (broken.topic, broken.partition) == (UNIQUE, 0)
        assert (broken.expected, broken.found) == (0 if mark is None else mark + 1, 2)
        asyncio.run(drive(pipeline.restarted(), "rating", "projector"))
        assert pipeline.fates()["duplicates"] == 4
    assert counted(pipeline, 0) == {0, 1, 2, 3}


def test_new_topics_are_not_judged_by_what_an_index_kept_of_the_old_ones() -> None:
    """The topics of a Kafka were deleted and made again, the Redis was left as it was."""
    pipeline = two_ranges()
    for topic in (RAW, UNIQUE, RATED):
        for partition in range(PARTITIONS):
            pipeline.log.make_anew(topic, partition)
    fresh = Pipeline(log=pipeline.log, index=pipeline.index)
    fresh.post(*(event(key) for keys in KEYS.values() for key in keys[:6]))
    assert asyncio.run(drive(fresh)) == []
    assert fresh.fates()["counted"] == 12
    assert fresh.fates()["duplicates"] == 0
