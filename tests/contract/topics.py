"""Fresh Kafka topics for a test."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code


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
