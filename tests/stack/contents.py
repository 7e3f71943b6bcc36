"""Puts one thing into each server, and reads it back."""

import asyncio
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

TOPIC = "kept"


async def _write(run: dict[str, Any], value: str) -> None:
    database = await asyncpg.connect(run["database_url"])
    await database.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
    await database.execute("INSERT INTO kept VALUES ($1)", value)
    await database.close()
    redis = Redis.from_url(run["redis_url"])
    await redis.sadd("kept", value)
    await redis.aclose()
    admin = AIOKafkaAdminClient(bootstrap_servers=run["kafka_bootstrap_servers"])
    await admin.start()
    try:
        if TOPIC not in await admin.list_topics():
            await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=run["kafka_bootstrap_servers"], enable_idempotence=True
    )
    await producer.start()
    try:
        await producer.send_and_wait(TOPIC, value.encode())
    finally:
        await producer.stop()


async def _read_kafka(run: dict[str, Any]) -> set[str]:
    partition = TopicPartition(TOPIC, 0)
    # Not its default, "latest": that reset is under way after assign, and overrides a seek.
    consumer = AIOKafkaConsumer(
        bootstrap_servers=run["kafka_bootstrap_servers"], auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        found: set[str] = set()
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found |= {record.value.decode() for record in records}
        return found
    finally:
        await consumer.stop()


async def _read_postgres(run: dict[str, Any]) -> set[str]:
    database = await asyncpg.connect(run["database_url"])
    try:
        return {row["value"] for row in await database.fetch("SELECT value FROM kept")}
    finally:
        await database.close()


async def _read_redis(run: dict[str, Any]) -> set[str]:
    redis = Redis.from_url(run["redis_url"], decode_responses=True)
    try:
        return {str(value) for value in await redis.smembers("kept")}
    finally:
        await redis.aclose()


_READERS = {"kafka": _read_kafka, "redis": _read_redis, "postgres": _read_postgres}


def write(run: dict[str, Any], value: str) -> None:
    """Put the value into each of the three, acknowledged."""
    asyncio.run(_write(run, value))


def read(run: dict[str, Any], server: str) -> set[str]:
    """What is in one of them; raises OSError or the client's error when it does not answer."""
    return asyncio.run(_READERS[server](run))
