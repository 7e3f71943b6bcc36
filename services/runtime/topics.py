"""Makes the topics of schemas/topics.toml; never changes or deletes one that exists."""

import tomllib
from importlib.resources import files

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

_DAY_MS = 24 * 60 * 60 * 1000


class TopicError(Exception):
    """A topic could not be made, or is not as the settings say."""


async def ensure_topics(
    bootstrap_servers: str,
    *,
    partitions: int = 8,
    replication_factor: int = 1,
    raw_retention_days: int = 40,
) -> None:
    """Create what is missing; raises TopicError when an existing topic has another partition
    count (it is fixed for the life of a topic: dedup depends on it)."""
    declared = tomllib.loads(files("schemas").joinpath("topics.toml").read_text("utf-8"))["topics"]
    retention = {"raw": str(raw_retention_days * _DAY_MS), "unlimited": "-1"}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        existing = {
            topic["topic"]: len(topic["partitions"])
            for topic in await admin.describe_topics()
            if topic["topic"] in declared
        }
        for name, count in existing.items():
            if count != partitions:
                raise TopicError(
                    f"topic {name} has {count} partitions, TOLLGATE_PARTITIONS says {partitions}."
                    " The count is fixed for the life of a topic: set TOLLGATE_PARTITIONS="
                    f"{count}, or use a new Kafka cluster."
                )
        missing = [
            NewTopic(
                name,
                partitions,
                replication_factor,
                topic_configs={**topic["config"], "retention.ms": retention[topic["retention"]]},
            )
            for name, topic in declared.items()
            if name not in existing
        ]
        if missing:
            await _create(admin, missing)
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    response = await admin.create_topics(topics)
    for name, code, *rest in response.topic_errors:
        error: type[KafkaError] = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise TopicError(f"topic {name} was not created: {error.__name__} {rest}")
