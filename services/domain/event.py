"""The usage event and the limits of what is one. Never knows how it was transported.

Limits follow Metronome's API where it states them (transaction_id, batch, 34 days, 24 hours,
properties); where it is silent they are ours, chosen so that every later stage can hold the value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

TRANSACTION_ID_LENGTH_MAX = 128
# Metronome publishes none; an alias has at most 128 characters, so nothing longer can match one.
CUSTOMER_ID_LENGTH_MAX = 128
EVENT_TYPE_LENGTH_MAX = 256
PROPERTIES_MAX = 2_000
# Deeper values serve no meter; the bound keeps every parser on the way within its stack.
PROPERTY_DEPTH_MAX = 32
EVENTS_PER_REQUEST_MAX = 100
# One event must fit a Kafka record and a micro-batch with room to spare (records: 4 MiB at most).
EVENT_BYTES_MAX = 256 * 1024
BACKDATED_MAX = timedelta(days=34)
AHEAD_MAX = timedelta(hours=24)


class UsageEvent(Protocol):
    """What a meter reads of an event, whichever class carries it."""

    @property
    def transaction_id(self) -> str: ...
    @property
    def customer_id(self) -> str:
        """As posted: a customer's id or one of its ingest aliases."""
        ...

    @property
    def event_type(self) -> str: ...
    @property
    def timestamp(self) -> datetime:
        """When the usage occurred; aware."""
        ...

    @property
    def properties(self) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class Event:
    """A usage event in memory."""

    transaction_id: str
    customer_id: str
    event_type: str
    timestamp: datetime
    properties: Mapping[str, object] = field(default_factory=dict)


def acceptable_between(now: datetime) -> tuple[datetime, datetime]:
    """Oldest and newest timestamp, both inclusive, of an event that arrives at `now` (aware)."""
    now = now.astimezone(UTC)
    return now - BACKDATED_MAX, now + AHEAD_MAX
