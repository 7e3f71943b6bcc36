"""How the sink sends: one flush at a time, and nobody waits behind one that failed, or falls with
a request that went away.
"""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from aiokafka.errors import KafkaConnectionError

from services.gateway.sink import Unavailable
from services.gateway.sink_kafka import EVENTS_ENOUGH, KafkaEventSink

PARTITIONS = 4
WAIT_S_MAX = 5


class HeldBatch:
    """Room for as many events as told."""

    def __init__(self, room: int) -> None:
        self.keys: list[str] = []
        self._room = room

    def append(self, *, key: bytes, value: bytes, timestamp: int | None) -> object | None:
        if len(self.keys) >= self._room:
            return None
        self.keys.append(key.decode())
        return self

    def close(self) -> None:
        """Nothing more comes."""


class HeldProducer:
    """Acknowledges a flush when it is told to."""

    def __init__(self, room: int = 1_000, **_settings: object) -> None:
        self.sent: list[str] = []
        self.unanswered: list[asyncio.Future[None]] = []
        self._room = room

    async def start(self) -> None:
        """It is there."""

    async def stop(self) -> None:
        """It was there."""

    async def partitions_for(self, _topic: str) -> None:
        """All of them."""

    def create_batch(self) -> HeldBatch:
        return HeldBatch(self._room)

    async def send_batch(
        self, batch: HeldBatch, _topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        self.sent += batch.keys
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.unanswered.append(acknowledged)
        return acknowledged

    async def in_flight(self, events: int) -> None:
        """Wait until so many were sent in all."""
        async with asyncio.timeout(WAIT_S_MAX):
            while len(self.sent) < events:
                await asyncio.sleep(0)

    def answer(self, failure: Exception | None = None) -> None:
        """All that is unanswered; with a failure, the first of it."""
        if failure is not None:
            self.unanswered.pop(0).set_exception(failure)
            return
        while self.unanswered:
            self.unanswered.pop().set_result(None)


@contextmanager
def connected(*producers: HeldProducer) -> Iterator[KafkaEventSink]:
    """A sink that is given these, one after the other."""
    left = iter(producers)
    with patch("services.gateway.sink_kafka.AIOKafkaProducer", lambda **_settings: next(left)):
        yield KafkaEventSink("", PARTITIONS)


async def started(sink: KafkaEventSink) -> None:
    await sink.start()
    await ready(sink)


async def ready(sink: KafkaEventSink) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            try:
                return await sink.check()
            except Unavailable:
                await asyncio.sleep(0)


def putting(sink: KafkaEventSink, *keys: str) -> asyncio.Task[None]:
    return asyncio.create_task(sink.put([(key, b"{}") for key in keys]))


async def some_turns(seconds: float = 0.05) -> None:
    """Longer than any linger."""
    await asyncio.sleep(seconds)


def test_what_comes_while_a_flush_is_under_way_goes_out_together_after_it() -> None:
    producer = HeldProducer()

    async def scenario(sink: KafkaEventSink) -> None:
        await started(sink)
        first = putting(sink, "a", "b", "c", "d")
        await producer.in_flight(4)
        others = [putting(sink, f"{n}") for n in range(8)]
        await some_turns()
        assert len(producer.sent) == 4
        producer.answer()
        await first
        await producer.in_flight(12)
        assert len(producer.unanswered) <= PARTITIONS
        assert not any(other.done() for other in others)
        producer.answer()
        await asyncio.gather(*others)
        await sink.stop()

    with connected(producer) as sink:
        asyncio.run(scenario(sink))


def test_enough_events_do_not_linger_and_a_full_batch_goes_at_once() -> None:
    for room, keys in ((EVENTS_ENOUGH, EVENTS_ENOUGH), (3, 20)):
        producer = HeldProducer(room)

        async def scenario(
            sink: KafkaEventSink, keys: int = keys, producer: HeldProducer = producer
        ) -> None:
            await started(sink)
            put = putting(sink, *(f"{n}" for n in range(keys)))
            with patch.object(asyncio.get_running_loop(), "call_later"):  # no linger ever ends
                while not put.done():
                    await asyncio.sleep(0)
                    producer.answer()
            assert sorted(producer.sent) == sorted(f"{n}" for n in range(keys))
            await put
            await sink.stop()

        with connected(producer) as sink:
            asyncio.run(scenario(sink))


def test_when_a_flush_fails_all_that_wait_behind_it_are_told_at_once() -> None:
    failed, fresh = HeldProducer(room=2), HeldProducer()

    async def scenario(sink: KafkaEventSink) -> None:
        await started(sink)
        first = putting(sink, *(f"{n}" for n in range(40)))  # several flushes, all but one full
        await some_turns()
        behind = putting(sink, "behind")
        await some_turns()
        failed.answer(KafkaConnectionError("gone"))
        async with asyncio.timeout(WAIT_S_MAX):
            for put in (first, behind):
                with pytest.raises(Unavailable):
                    await put
        assert len(failed.sent) <= 2 * PARTITIONS  # nothing more goes to a producer that failed
        await ready(sink)
        async with asyncio.timeout(WAIT_S_MAX):
            again = putting(sink, "again")
            await fresh.in_flight(1)
            fresh.answer()
            await again
        await sink.stop()

    with connected(failed, fresh) as sink:
        asyncio.run(scenario(sink))


def test_a_request_that_goes_away_takes_no_other_with_it() -> None:
    producer = HeldProducer()

    async def scenario(sink: KafkaEventSink) -> None:
        await started(sink)
        gone, stays = putting(sink, "a"), putting(sink, "a")
        await producer.in_flight(2)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        producer.answer()
        await stays
        await sink.stop()

    with connected(producer) as sink:
        asyncio.run(scenario(sink))


def test_no_request_waits_longer_than_the_limit_for_the_flushes_before_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.gateway.sink_kafka.ACK_TIMEOUT_MS", 200)
    slow, fresh = HeldProducer(room=1), HeldProducer()

    async def scenario(sink: KafkaEventSink) -> None:
        await started(sink)
        put = putting(sink, "a", "a", "a")  # three flushes, of which the second stands still
        await slow.in_flight(1)
        slow.answer()
        async with asyncio.timeout(WAIT_S_MAX):
            with pytest.raises(Unavailable):
                await put
        await sink.stop()

    with connected(slow, fresh) as sink:
        asyncio.run(scenario(sink))


def test_a_fault_of_our_own_leaves_nobody_waiting_and_the_next_flush_is_sent() -> None:
    faulty, fresh = HeldProducer(), HeldProducer()
    faulty.send_batch = None  # type: ignore[method-assign, assignment]  # the fault

    async def scenario(sink: KafkaEventSink) -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: told.append(context["exception"])
        )
        await started(sink)
        async with asyncio.timeout(WAIT_S_MAX):
            with pytest.raises(Unavailable):
                await putting(sink, "a")
            await ready(sink)
            put = putting(sink, "b")
            await fresh.in_flight(1)
            fresh.answer()
            await put
        await sink.stop()
        gc.collect()
        assert [type(error) for error in told] == [TypeError]

    with connected(faulty, fresh) as sink:
        asyncio.run(scenario(sink))
