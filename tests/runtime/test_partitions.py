"""What the settings say of the topics is compared with what Kafka has; the line says what to do."""

import asyncio
from collections.abc import Mapping

import pytest

from services.runtime import partitions_kafka
from services.runtime.partitions_kafka import WrongPartitions, check_partitions

EIGHT = {"usage.raw": 8, "usage.unique": 8, "usage.rated": 8, "somebody-elses": 3}


def check(monkeypatch: pytest.MonkeyPatch, there: Mapping[str, int]) -> None:
    """Against a Kafka that has these topics, with settings that say 8 partitions."""

    async def counts(bootstrap_servers: str) -> Mapping[str, int]:
        assert bootstrap_servers == "kafka:9092"
        return there

    monkeypatch.setattr(partitions_kafka, "partition_counts", counts)
    asyncio.run(check_partitions("kafka:9092", 8))


def test_topics_as_the_settings_say_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, EIGHT)


@pytest.mark.parametrize("topic", ["usage.raw", "usage.unique", "usage.rated"])
def test_another_count_is_named_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    with pytest.raises(WrongPartitions) as wrong:
        check(monkeypatch, {**EIGHT, topic: 4})
    assert f"{topic} has 4 partitions, TOLLGATE_PARTITIONS says 8" in str(wrong.value)
    assert "set TOLLGATE_PARTITIONS=4" in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_kafka_without_the_topics_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongPartitions, match=r"no topic usage\.raw at kafka:9092: `tollgate init"):
        check(monkeypatch, {"somebody-elses": 3})
