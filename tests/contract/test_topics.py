"""The topics as Kafka makes them keep what Tollgate relies on, whatever a broker's defaults are."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.runtime.log import RAW, TOPICS
from services.runtime.topics import ensure_topics
from tests.conftest import Servers
from tests.contract.conftest import Loop

# Where Kafka has a setting from.
TOPIC_ITSELF = 1


async def settings_of(bootstrap_servers: str, topic: str) -> dict[str, tuple[str, int]]:
    """name -> (value, where from) of a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        asked = ConfigResource(ConfigResourceType.TOPIC, topic)
        [answer] = await admin.describe_configs([asked])
    finally:
        await admin.close()
    [(_, _, _, _, entries)] = answer.resources
    return {name: (value, source) for name, value, _, source, *_ in entries}


def test_no_default_of_the_broker_cuts_a_topic_by_its_size(loop: Loop, servers: Servers) -> None:
    """A broker's log.retention.bytes would take ids that dedup still needs."""

    async def scenario() -> None:
        address = servers.kafka_bootstrap_servers
        await ensure_topics(address, partitions=8)
        for topic in TOPICS:
            found = await settings_of(address, topic)
            assert found["retention.bytes"] == ("-1", TOPIC_ITSELF), topic
            by_time, source = found["retention.ms"]
            assert source == TOPIC_ITSELF
            assert (int(by_time) > 0) is (topic == RAW), topic

    loop.run(scenario())
