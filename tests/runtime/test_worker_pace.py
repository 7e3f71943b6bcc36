"""When the worker polls: paced under load, at once after an idle stretch or with a backlog; and
what ends its waiting.
"""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from services.domain.chain import ChainBroken
from services.runtime.log import RAW, Record
from services.runtime.worker import stretch
from tests.runtime.worker_bench import Bench

FOR_EVER_S = 3_600.0


def test_an_error_of_the_consumer_ends_the_process_before_any_assignment() -> None:
    async def go() -> None:
        bench = Bench()
        await bench.worker.start()

        async def fenced(records_max: int) -> Mapping[int, Sequence[Record]]:
            raise ConnectionError("another member has this name")

        bench.consumer.poll = fenced  # type: ignore[method-assign]  # a fault
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(5):
                await bench.worker.run(bench.stopping)
        assert bench.ready == 0

    asyncio.run(go())


def test_it_is_ready_once_when_every_partition_first_given_is_open() -> None:
    async def go() -> None:
        bench = Bench()
        bench.step.opening.clear()
        starting = asyncio.create_task(bench.start(0, 1))
        await bench.settle()
        assert bench.ready == 0
        bench.step.opening.set()
        await starting
        assert bench.step.opened == [0, 1]
        assert bench.ready == 1
        await bench.consumer.assign([1])
        await bench.end()
        assert bench.ready == 1

    asyncio.run(go())


def test_a_lone_record_is_taken_at_once_and_what_follows_waits_for_the_next_poll() -> None:
    async def go() -> None:
        bench = await Bench(pace_s=FOR_EVER_S).start(0)
        bench.step.checkpoints[0] = 10
        bench.consumer.seek(0, 10)
        await bench.settle()
        bench.log.put(RAW, 0, None, None)
        await bench.settle()
        assert bench.step.seen == {0: [10]}
        bench.log.put(RAW, 0, None, None)
        await bench.settle()
        assert bench.step.seen == {0: [10]}
        await bench.end()

    asyncio.run(go())


def test_after_the_rest_it_goes_on_with_all_that_came_meanwhile() -> None:
    async def go() -> None:
        bench = await Bench(pace_s=0.02).start(0)
        await bench.settle()
        bench.log.put(RAW, 0, None, None)
        bench.log.put(RAW, 0, None, None)
        async with asyncio.timeout(10):
            while bench.step.seen[0] != list(range(12)):
                await asyncio.sleep(0.001)
        await bench.end()

    asyncio.run(go())


def test_it_rests_longer_with_fewer_partitions_up_to_twice_as_long() -> None:
    assert stretch(held=8, partitions=8) == 1
    assert stretch(held=5, partitions=8) == 1.6
    assert stretch(held=2, partitions=8) == 2
    assert stretch(held=0, partitions=8) == 2
    assert stretch(held=1, partitions=0) == 1

    async def go() -> None:
        bench = await Bench(pace_s=0.02).start(0, 1)
        assert bench.worker._rest_s == 0.02
        await bench.consumer.assign([1])
        assert bench.worker._rest_s == 0.04
        await bench.consumer.assign([0, 1])
        assert bench.worker._rest_s == 0.02
        await bench.end()

    asyncio.run(go())


def test_a_backlog_is_read_without_a_rest() -> None:
    async def go() -> None:
        bench = await Bench(pace_s=FOR_EVER_S).start(0, 1)
        await bench.settle()
        assert bench.step.seen == {0: list(range(10)), 1: list(range(10))}
        await bench.end()

    asyncio.run(go())


def test_lag_tools_are_told_once_the_log_is_read_not_with_every_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.runtime.worker.COMMIT_EVERY_S", float("inf"))
    told: list[Mapping[int, int]] = []

    async def go() -> None:
        bench = Bench()

        async def commit(positions: Mapping[int, int]) -> None:
            told.append(positions)

        bench.consumer.commit = commit  # type: ignore[method-assign]  # noted
        await bench.start(0, 1)
        await bench.settle()
        await bench.end()

    asyncio.run(go())
    assert told == [{0: 10, 1: 10}]


def test_a_rebalance_does_not_wait_for_a_rest_and_its_error_ends_it() -> None:
    async def go() -> None:
        bench = await Bench(pace_s=FOR_EVER_S).start(0)
        await bench.settle()
        async with asyncio.timeout(10):
            await bench.consumer.assign([1])
        assert bench.step.closed == [0]
        bench.step.fails = ConnectionError("the database is away")
        await bench.consumer.assign([1])
        assert bench.running is not None
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(10):
                await bench.running

    asyncio.run(go())


@pytest.mark.parametrize("pace_s", [0.0, 3_600.0])
def test_it_stops_at_once_whether_it_rests_or_waits_for_records(pace_s: float) -> None:
    async def go() -> None:
        bench = Bench(pace_s=pace_s)
        if not pace_s:
            bench.consumer.poll = never  # type: ignore[method-assign]  # a fault
        await bench.start(0)
        await bench.settle()
        async with asyncio.timeout(10):
            await bench.end()

    asyncio.run(go())


async def never(records_max: int) -> Mapping[int, Sequence[Record]]:
    """A poll that finds nothing."""
    await asyncio.Event().wait()
    return {}


def test_a_partition_halted_beside_its_new_assignment_is_read_when_that_opens_it() -> None:
    """The group has given it anew, and its checkpoint is still looked up for before."""

    async def go() -> None:
        bench = await Bench().start(0)
        await bench.settle()
        opened, bench.step.opening = bench.step.open, asyncio.Event()
        trials = [True, False]

        async def open_at_last(partition: int) -> int:
            checkpoint = await opened(partition)
            if trials.pop():
                return checkpoint
            raise ChainBroken(RAW, partition, checkpoint, 99)

        bench.step.open = open_at_last  # type: ignore[method-assign]  # a fault that passes
        bench.consumer.positions[0] = 99  # outside of the log
        await bench.settle()
        assigning = asyncio.create_task(bench.worker.assigned([0]))
        await bench.settle()
        bench.step.opening.set()
        await assigning
        bench.log.put(RAW, 0, None, None)
        await bench.settle()
        assert bench.step.seen == {0: list(range(11))}
        await bench.end()

    asyncio.run(go())
