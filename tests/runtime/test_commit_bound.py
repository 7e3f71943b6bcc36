"""Offsets for lag tools never hold up a worker, and a worker that lost its group notices."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.errors import CommitFailedError

from services.runtime import consumer_kafka
from services.runtime.consumer import GroupLost
from services.runtime.consumer_kafka import KafkaConsumer

Commit = Callable[..., Awaitable[None]]


def _committing(
    monkeypatch: pytest.MonkeyPatch, commit: Commit, use: Callable[[KafkaConsumer], Awaitable[None]]
) -> None:
    async def scenario() -> None:
        consumer = KafkaConsumer("127.0.0.1:1", topic="t", group="g")
        monkeypatch.setattr(consumer_kafka, "_COMMIT_S_MAX", 0.01)
        monkeypatch.setattr(consumer._consumer, "commit", commit)
        async with asyncio.timeout(5):
            await use(consumer)
        await consumer.stop()

    asyncio.run(scenario())


def test_a_commit_that_nobody_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    _committing(monkeypatch, never, lambda consumer: consumer.commit({0: 1}))


def test_a_group_that_answers_no_commit_any_more_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any) -> None:
        raise CommitFailedError("somebody else has the partitions")

    async def commits(consumer: KafkaConsumer) -> None:
        for offset in range(9):
            await consumer.commit({0: offset})
        with pytest.raises(GroupLost, match=r"g: .*somebody else has the partitions"):
            await consumer.commit({0: 9})

    _committing(monkeypatch, refused, commits)


def test_an_answer_in_between_keeps_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def sometimes(*_: Any) -> None:
        nonlocal asked
        asked += 1
        if asked % 9:
            raise CommitFailedError("a rebalance")

    async def commits(consumer: KafkaConsumer) -> None:
        for offset in range(40):
            await consumer.commit({0: offset})

    _committing(monkeypatch, sometimes, commits)
