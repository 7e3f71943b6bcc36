"""Offsets for lag tools never hold up a worker."""

import asyncio
from typing import Any

import pytest

from services.runtime import consumer_kafka
from services.runtime.consumer_kafka import KafkaConsumer


def test_a_commit_that_nobody_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        consumer = KafkaConsumer("127.0.0.1:1", topic="t", group="g")
        monkeypatch.setattr(consumer_kafka, "_COMMIT_S_MAX", 0.01)
        monkeypatch.setattr(consumer._consumer, "commit", never)
        async with asyncio.timeout(5):
            await consumer.commit({0: 1})
        await consumer.stop()

    asyncio.run(scenario())
