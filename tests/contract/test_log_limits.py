"""How large a record each topic takes: as declared, as Kafka has it, as in memory."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.runtime.log import BATCH_BYTES_MAX, FRAME_BYTES, RATED, TOPICS, Log, RecordTooLarge
from services.runtime.log_kafka import KafkaLog
from services.runtime.log_memory import MemoryLog
from services.runtime.topics import ensure_topics
from tests.conftest import Servers
from tests.contract.conftest import Loop
from tests.contract.test_event_sink import PARTITIONS
from tests.contract.topics import DECLARED, create_topic, delete_topics

WAIT_S = 60.0


@pytest.fixture(scope="module")
def kafka_log(loop: Loop, servers: Servers) -> Iterator[KafkaLog]:
    async def made() -> KafkaLog:
        log = KafkaLog(servers.kafka_bootstrap_servers, "contract")
        await log.start()
        return log

    log = loop.run(made())
    yield log
    loop.run(log.stop())


def test_the_limits_are_those_that_the_topics_are_made_with() -> None:
    declared = {name: int(topic["config"]["max.message.bytes"]) for name, topic in DECLARED.items()}
    assert declared == BATCH_BYTES_MAX
    assert set(declared) == set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("beyond", [0, 1])
def test_each_topic_takes_what_it_is_made_for(
    loop: Loop, servers: Servers, kafka_log: KafkaLog, topic: str, beyond: int
) -> None:
    """In memory no more than the real one takes, and as much as a stage may count on."""
    name = f"contract-{uuid4().hex}"
    size = BATCH_BYTES_MAX[topic] - (0 if beyond else FRAME_BYTES)

    async def refuses(log: Log, where: str) -> bool:
        try:
            await log.append(where, 0, b"y" * size)
        except RecordTooLarge:
            return True
        return False

    async def scenario() -> None:
        address = servers.kafka_bootstrap_servers
        await create_topic(address, name, **DECLARED[topic]["config"])
        try:
            assert (
                await refuses(kafka_log, name) == await refuses(MemoryLog(), topic) == bool(beyond)
            )
        finally:
            await delete_topics(address, [name])

    loop.run(scenario())


def test_the_largest_records_of_several_partitions_are_taken_at_the_same_time(
    loop: Loop, servers: Servers, kafka_log: KafkaLog
) -> None:
    """As rating sends them. Together they are more than a broker takes in one request."""
    name = f"contract-{uuid4().hex}"
    value = b"y" * (BATCH_BYTES_MAX[RATED] - FRAME_BYTES)

    async def scenario() -> None:
        address = servers.kafka_bootstrap_servers
        await create_topic(address, name, **DECLARED[RATED]["config"])
        try:
            async with asyncio.timeout(WAIT_S):
                await asyncio.gather(*(kafka_log.append(name, p, value) for p in (0, 1)))
        finally:
            await delete_topics(address, [name])

    loop.run(scenario())


def test_a_record_that_kafka_refuses_is_reported_and_never_taken_for_written(
    loop: Loop, servers: Servers
) -> None:
    topic = f"contract-{uuid4().hex}"
    address = servers.kafka_bootstrap_servers

    async def scenario() -> None:
        await create_topic(address, topic, **{"max.message.bytes": "1000"})
        log = KafkaLog(address, "contract")
        await log.start()
        try:
            with pytest.raises(RecordTooLarge, match=topic):
                await log.append(topic, 0, b"x" * 5_000)
            assert await log.bounds(topic, 0) == (0, 0)
        finally:
            await log.stop()
            await delete_topics(address, [topic])

    loop.run(scenario())


async def set_on(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """What is set on a topic."""
    [found] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [(_, _, _, _, entries)] = found.resources
    return {key: value for key, value, _, source, *_ in entries if source == 1}


async def until_set(admin: AIOKafkaAdminClient, topic: str, wanted: dict[str, str]) -> None:
    """The broker shows what it has accepted a moment later."""
    async with asyncio.timeout(30):
        while await set_on(admin, topic) != wanted:
            await asyncio.sleep(0.02)


async def replace(admin: AIOKafkaAdminClient, topic: str, wanted: dict[str, str]) -> None:
    """Set just this on a topic."""
    [altered] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
    assert [code for code, *_ in altered.resources] == [0]
    await until_set(admin, topic, wanted)


def test_a_topic_made_with_a_smaller_limit_is_widened_and_nothing_else_of_it_changes(
    loop: Loop, servers: Servers
) -> None:
    address = servers.kafka_bootstrap_servers
    formerly = {"max.message.bytes": "4194304", "retention.ms": "-1", "segment.bytes": "50000000"}

    async def scenario() -> None:
        await ensure_topics(address, partitions=PARTITIONS)
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            before = await set_on(admin, RATED)
            await replace(admin, RATED, formerly)
            await ensure_topics(address, partitions=PARTITIONS)
            widened = {**formerly, "max.message.bytes": str(BATCH_BYTES_MAX[RATED])}
            await until_set(admin, RATED, widened)
            larger = {**before, "max.message.bytes": "100000000"}
            await replace(admin, RATED, larger)
            await ensure_topics(address, partitions=PARTITIONS)
            await asyncio.sleep(0.2)  # a change would show by then
            assert await set_on(admin, RATED) == larger, "an operator's larger limit is kept"
            await replace(admin, RATED, before)
        finally:
            await admin.close()

    loop.run(scenario())
