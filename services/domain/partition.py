"""Which partition an event belongs to. Never depends on anything but the transaction_id.

Rule: librdkafka's `consistent` partitioner (CRC-32 of the key modulo the partition count), so any
client can reproduce it and every sighting of one id meets the same dedup worker.
"""

from zlib import crc32

PARTITION_COUNT_DEFAULT = 8


def partition_of(transaction_id: str, partition_count: int) -> int:
    """Partition number in [0, partition_count) of a transaction_id."""
    return partition_of_key(transaction_id.encode(), partition_count)


def partition_of_key(key: bytes, partition_count: int) -> int:
    """As partition_of, of the transaction_id's UTF-8 bytes, which are a record's key."""
    return crc32(key) % partition_count
