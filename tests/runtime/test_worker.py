"""The worker's decisions over a consumer in memory: what is held is processed from the checkpoint,
what is gone or broken stops its partition, and everything else ends the process.
"""

import asyncio

import pytest

from services.runtime.log import RAW, Record
from tests.runtime.worker_bench import Bench, running


def test_every_record_is_processed_and_shown_to_lag_tools() -> None:
    async def go() -> None:
        bench = await running(0, 1)
        await bench.settle()
        await bench.end()
        assert bench.step.seen == {0: list(range(10)), 1: list(range(10))}
        assert bench.consumer.committed == {0: 10, 1: 10}

    asyncio.run(go())


@pytest.mark.parametrize("committed", [0, 3, 9])
def test_reading_starts_at_the_checkpoint_whatever_is_committed(committed: int) -> None:
    async def go() -> None:
        bench = Bench()
        bench.step.checkpoints = {0: 5}
        bench.consumer.committed = {0: committed}
        await bench.start(0)
        await bench.settle()
        await bench.end()
        assert bench.step.seen == {0: [5, 6, 7, 8, 9]}

    asyncio.run(go())


def test_what_was_polled_before_a_rebalance_is_left_to_the_new_owner() -> None:
    async def go() -> None:
        bench = Bench()
        await bench.worker.start()
        await bench.consumer.assign([0, 1])
        polled = await bench.consumer.poll(100)
        await bench.consumer.assign([1])
        await bench.worker._process(polled)
        assert bench.step.closed == [0, 1]
        assert 0 not in bench.step.seen

    asyncio.run(go())


def test_a_stale_batch_that_looks_like_a_gap_is_read_again_from_the_checkpoint() -> None:
    async def go() -> None:
        bench = await running(0, 1)
        bench.consumer.seek(0, 7)  # as if polled before the partition came back
        await bench.settle()
        await bench.end()
        assert bench.step.seen == {0: list(range(10)), 1: list(range(10))}

    asyncio.run(go())


def test_stale_batches_of_two_rebalances_do_not_halt_a_whole_chain() -> None:
    async def go() -> None:
        bench = Bench()
        await bench.worker.start()
        stale = {0: bench.log.partitions[RAW, 0][7:]}
        for _ in range(3):
            await bench.consumer.assign([0])
            await bench.worker._process(stale)
        bench.running = asyncio.create_task(bench.worker.run(bench.stopping))
        await bench.settle()
        await bench.end()
        assert bench.step.seen == {0: list(range(10))}

    asyncio.run(go())


def test_a_gap_that_stays_halts_its_partition_until_it_is_assigned_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def go() -> None:
        bench = Bench()
        whole = list(bench.log.partitions[RAW, 0])
        read = bench.log.read

        async def holed(topic: str, partition: int, offset: int) -> list[Record]:
            records = await read(topic, partition, offset)
            return [r for r in records if partition == 1 or r.offset not in (2, 3)]

        bench.log.read = holed  # type: ignore[method-assign]  # two records are lost
        await bench.start(0, 1)
        await bench.settle()
        assert bench.step.seen == {0: [0, 1], 1: list(range(10))}
        assert bench.consumer.committed[1] == 10
        assert bench.consumer.committed.get(0, 0) <= 2
        assert f"{RAW}[0]" in caplog.text
        assert "2 raw offsets" in caplog.text
        assert bench.step.opened.count(0) == 2

        bench.log.read = read  # type: ignore[method-assign]  # restored
        assert bench.log.partitions[RAW, 0] == whole
        await bench.consumer.assign([0, 1])
        await bench.settle()
        await bench.end()
        assert bench.step.seen[0] == list(range(10))

    asyncio.run(go())


@pytest.mark.parametrize("step_knows", [True, False])
def test_a_truncated_log_halts_its_partition_and_is_never_read_from_its_start(
    caplog: pytest.LogCaptureFixture, step_knows: bool
) -> None:
    """Whether the step's bounds checks notice, or only the consumer does."""

    async def go() -> None:
        bench = await running(0, 1)
        await bench.settle()
        del bench.log.partitions[RAW, 0][4:]
        bench.step.broken = {0} if step_knows else set()
        bench.log.put(RAW, 1, None, None)
        await bench.settle()
        bench.log.put(RAW, 1, None, None)
        await bench.settle()
        await bench.end()
        assert bench.step.seen == {0: list(range(10)), 1: list(range(12))}
        errors = [record for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == 1
        assert f"{RAW}[0]" in caplog.text
        assert "made anew" in caplog.text

    asyncio.run(go())


def test_a_position_that_is_only_old_goes_on_from_the_checkpoint() -> None:
    async def go() -> None:
        bench = await running(0)
        await bench.settle()
        bench.consumer.seek(0, 99)
        await bench.settle()
        bench.log.put(RAW, 0, None, None)
        await bench.settle()
        await bench.end()
        assert bench.step.seen == {0: list(range(11))}

    asyncio.run(go())


def test_an_open_that_fails_at_an_assignment_ends_the_process() -> None:
    async def go() -> None:
        bench = Bench()
        bench.step.fails = ConnectionError("the database is away")
        await bench.start(0)
        assert bench.running is not None
        with pytest.raises(ConnectionError):
            await bench.running

    asyncio.run(go())
