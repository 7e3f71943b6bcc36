"""A worker with a name has its partitions back at once when it dies; Kafka keeps them for no other
until the session of the dead one ends.
"""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from services.runtime.consumer_kafka import SESSION_TIMEOUT_MS, KafkaConsumer
from tests.conftest import Servers
from tests.contract.conftest import Loop
from tests.contract.topics import create_topic, delete_topics

# Well before Kafka gives the dead member up.
AT_ONCE_S = 0.5 * SESSION_TIMEOUT_MS / 1000


class Given:
    """An assignee that notes which partitions came."""

    def __init__(self) -> None:
        self.partitions: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def assigned(self, partitions: Sequence[int]) -> None:
        if partitions and not self.partitions.done():
            self.partitions.set_result(list(partitions))

    async def revoked(self, partitions: Sequence[int]) -> None:
        return


async def after_a_death(servers: Servers, died: str, successor: str) -> list[int]:
    """The partitions that a member gets at once when another with all of them has died."""
    topic = f"contract-{uuid4().hex}"
    address = servers.kafka_bootstrap_servers
    await create_topic(address, topic)
    first = KafkaConsumer(address, topic=topic, group=topic, instance_id=died)
    second = KafkaConsumer(address, topic=topic, group=topic, instance_id=successor)
    try:
        given = Given()
        await first.start(given)
        assert await given.partitions == [0, 1]
        await first.stop()  # for Kafka this is a death: a member with a name never says goodbye
        given = Given()
        async with asyncio.timeout(AT_ONCE_S):
            await second.start(given)
            return await given.partitions
    finally:
        await second.stop()
        await delete_topics(address, [topic])


def test_the_same_name_has_the_partitions_back_at_once(loop: Loop, servers: Servers) -> None:
    assert loop.run(after_a_death(servers, "worker-1", "worker-1")) == [0, 1]


def test_another_name_waits_until_the_session_of_the_dead_one_ends(
    loop: Loop, servers: Servers
) -> None:
    """The control: what the test before it sees is the name's doing."""
    with pytest.raises(TimeoutError):
        loop.run(after_a_death(servers, "worker-1", "worker-2"))
