"""Makes the topics of schemas/topics.toml. Of one that exists it changes nothing but a limit on
records that is too small, and it never deletes one.
"""

import tomllib
from importlib.resources import files

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

_DAY_MS = 24 * 60 * 60 * 1000
_BYTES_MAX = "max.message.bytes"
_SET_ON_TOPIC = 1  # the source of a setting, as Kafka numbers them: not a default


class TopicError(Exception):
    """A topic could not be made, or is not as the settings say."""


async def ensure_topics(
    bootstrap_servers: str,
    *,
    partitions: int = 8,
    replication_factor: int = 1,
    raw_retention_days: int = 40,
) -> None:
    """Create what is missing, and let existing topics take records as large as declared; raises
    TopicError when an existing topic has another partition count (it is fixed for the life of a
    topic: dedup depends on it)."""
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
        for name in sorted(existing):
            await _widen(admin, name, int(declared[name]["config"][_BYTES_MAX]))
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    response = await admin.create_topics(topics)
    for name, code, *rest in response.topic_errors:
        error: type[KafkaError] = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise TopicError(f"topic {name} was not created: {error.__name__} {rest}")


async def _widen(admin: AIOKafkaAdminClient, name: str, bytes_max: int) -> None:
    """Let a topic take records of `bytes_max`, when it takes less. Kafka's request replaces all
    that is set on the topic, so what else is set there is sent along."""
    topic = ConfigResource(ConfigResourceType.TOPIC, name)
    [described] = await admin.describe_configs([topic])
    [(code, message, _, _, entries)] = described.resources
    _check(name, code, message)
    if int(next(value for key, value, *_ in entries if key == _BYTES_MAX)) >= bytes_max:
        return
    kept = {key: value for key, value, _, source, *_ in entries if source == _SET_ON_TOPIC}
    wanted = {**kept, _BYTES_MAX: str(bytes_max)}
    [altered] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, wanted)])
    for code, message, *_ in altered.resources:
        _check(name, code, message)


def _check(name: str, code: int, message: str | None) -> None:
    if code:
        raise TopicError(
            f"topic {name}: {_BYTES_MAX} could not be read or raised:"
            f" {for_code(code).__name__} {message}. Set it as schemas/topics.toml says."
        )
