"""Fresh Kafka topics for a test."""

import asyncio
import tomllib
from importlib.resources import files

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import TopicAlreadyExistsError, for_code

# As Tollgate makes its own.
DECLARED = tomllib.loads(files("schemas").joinpath("topics.toml").read_text("utf-8"))["topics"]
_ANEW_TRIES = 100


async def create_topic(bootstrap_servers: str, name: str, **config: str) -> None:
    """Make a topic of two partitions, or raise what Kafka says."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        made = await admin.create_topics([NewTopic(name, 2, 1, topic_configs=config)])
        for _, code, *_rest in made.topic_errors:
            if code:
                raise for_code(code)
    finally:
        await admin.close()


async def delete_topics(bootstrap_servers: str, names: list[str]) -> None:
    """Remove topics that a test made."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics(names)
    finally:
        await admin.close()


async def truncate(bootstrap_servers: str, topic: str, partition: int, before: int) -> None:
    """Delete the records of a partition below offset `before`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})
    finally:
        await admin.close()


async def make_anew(bootstrap_servers: str, topic: str) -> None:
    """Delete a topic and create it again, once Kafka is done with the old one."""
    await delete_topics(bootstrap_servers, [topic])
    for _ in range(_ANEW_TRIES):
        try:
            await create_topic(bootstrap_servers, topic)
        except TopicAlreadyExistsError:
            await asyncio.sleep(0.1)
        else:
            return
    raise TimeoutError(f"{topic} is still being deleted")
