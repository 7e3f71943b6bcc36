"""Where an event that was lost or doubled is in the log: its raw offsets and their fates."""

from collections.abc import Iterable
from typing import Any

from services.runtime.log import RAW, UNIQUE, Log, Record
from services.runtime.log_kafka import KafkaLog
from services.runtime.records import decode_unique
from tests.chaos.counted import settings_of

# Reading is the whole log over; more names than this say nothing more.
NAMES_MAX = 20


async def trace(run: dict[str, Any], names: Iterable[str]) -> list[str]:
    """A line for every sighting of these transaction ids on usage.raw."""
    wanted = {name.encode() for name in list(names)[:NAMES_MAX]}
    if not wanted:
        return []
    settings = settings_of(run)
    log = KafkaLog(
        settings.kafka_bootstrap_servers,
        "tollgate-chaos",
        partitions=settings.partitions,
        read_only=True,
    )
    await log.start()
    try:
        return [
            line
            for partition in range(settings.partitions)
            for line in await _trace_partition(log, partition, wanted)
        ]
    finally:
        await log.stop()


async def _trace_partition(log: Log, partition: int, wanted: set[bytes]) -> list[str]:
    sighted = {
        record.offset: record.key
        for record in await _all(log, RAW, partition)
        if record.key in wanted
    }
    if not sighted:
        return []
    fates: dict[int, list[str]] = {offset: [] for offset in sighted}
    for record in await _all(log, UNIQUE, partition):
        place = f"{UNIQUE}@{record.offset}"
        batch = decode_unique(record.value, place)
        unique = {batch.first + offset for offset in batch.offsets}
        conflicts = {batch.first + clash.offset for clash in batch.conflicts}
        for offset in sighted.keys() & set(range(batch.first, batch.last + 1)):
            fate = "conflict" if offset in conflicts else "duplicate"
            fates[offset].append(f"{'unique' if offset in unique else fate} in {place}")
    return [
        f"{(key or b'').decode()}: {RAW}[{partition}]@{offset}: {fates[offset] or 'not judged'}"
        for offset, key in sighted.items()
    ]


async def _all(log: Log, topic: str, partition: int) -> list[Record]:
    offset, _ = await log.bounds(topic, partition)
    records: list[Record] = []
    while more := await log.read(topic, partition, offset):
        records += more
        offset = more[-1].offset + 1
    return records
