"""Compares how many partitions Kafka's topics have with what the settings say, before anything
waits for a partition that is not there. Only reads; makes no topic.
"""

from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient

from services.runtime.log import TOPICS


class WrongPartitions(Exception):
    """The topics are not as the settings say; the text is one line that says what to do."""


async def check_partitions(bootstrap_servers: str, expected: int) -> None:
    """Raises WrongPartitions unless each of our topics is there with `expected` partitions, and
    KafkaError when no broker answers."""
    counts = await partition_counts(bootstrap_servers)
    for topic in TOPICS:
        count = counts.get(topic)
        if count is None:
            raise WrongPartitions(
                f"there is no topic {topic} at {bootstrap_servers}: `tollgate init` makes it, or"
                " KAFKA_BOOTSTRAP_SERVERS names another Kafka than Tollgate's"
            )
        if count != expected:
            raise WrongPartitions(
                f"topic {topic} has {count} partitions, TOLLGATE_PARTITIONS says {expected}: set"
                f" TOLLGATE_PARTITIONS={count} (the count is fixed for the life of a topic)"
            )


async def partition_counts(bootstrap_servers: str) -> Mapping[str, int]:
    """How many partitions each topic of the cluster has; raises KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        # Of all topics: to ask for one by name may make the broker create it.
        described = await admin.describe_topics()
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}
