"""When the finalizer looks and what it asks for: the log once for an instant, nothing at all while
nothing is due, every end of what is due in order.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.projector.finalizer import BEHIND_S, HELD_S, Finalizer
from services.projector.finals import Due, Finalized
from services.runtime.log import RAW
from services.runtime.log_memory import MemoryLog

GRACE = timedelta(hours=24)
FIRST, SECOND = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@dataclass
class Drafts:
    """Ends of drafts, in memory; `held` ones are never finalized."""

    ends: list[datetime]
    counted: dict[int, int] = field(default_factory=dict)
    held: frozenset[datetime] = frozenset()
    finalized: list[tuple[datetime, Due]] = field(default_factory=list)
    late: list[int] = field(default_factory=list)

    async def next_end(self, after: datetime | None, until: datetime) -> datetime | None:
        """See Finals."""
        due = [end for end in self.ends if end <= until and (after is None or end > after)]
        return min(due, default=None)

    async def positions(self) -> Mapping[int, int]:
        """See Finals."""
        return self.counted

    async def finalize(
        self, end: datetime, after: UUID | None, offsets: Mapping[int, int], due: Due
    ) -> Finalized:
        """See Finals: one at a time."""
        if end in self.held:
            return Finalized(0, None)
        self.finalized.append((end, due))
        self.ends.remove(end)
        return Finalized(1, UUID(int=1) if end in self.ends else None)

    async def compare_late(self, now: datetime) -> int:
        """See Finals."""
        return self.late.pop() if self.late else 0


@dataclass
class AskedLog(MemoryLog):
    """Counts what it is asked for."""

    asked: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See Log."""
        self.asked += 1
        return await super().offset_at(topic, partition, timestamp_ms)


def finalizer(drafts: Drafts, log: MemoryLog, now: datetime) -> Finalizer:
    """Of two partitions."""
    return Finalizer(drafts, log, lambda: now, grace=GRACE, partitions=2)


def test_everything_due_in_order_and_nothing_else() -> None:
    drafts, log = Drafts([SECOND, FIRST, FIRST]), AskedLog()
    early = finalizer(drafts, log, FIRST + GRACE - timedelta(microseconds=1))
    assert asyncio.run(early.finalize_due()) == 0
    assert (drafts.finalized, log.asked) == ([], 0)
    now = SECOND + GRACE
    assert asyncio.run(finalizer(drafts, log, now).finalize_due()) == 0
    first, second = Due(now, FIRST + GRACE), Due(now, SECOND + GRACE)
    assert drafts.finalized == [(FIRST, first), (FIRST, first), (SECOND, second)]
    assert log.asked == 4  # two instants, two partitions


def test_one_end_that_waits_leaves_the_others_their_turn() -> None:
    drafts, log = Drafts([FIRST, SECOND]), AskedLog()
    log.now_ms = int(FIRST.timestamp() * 1_000)
    log.put(RAW, 1, None, b"")
    log.now_ms = int((SECOND + timedelta(hours=1)).timestamp() * 1_000)
    log.put(RAW, 1, None, b"")
    drafts.counted = {1: 1}  # past the first instant, not the second
    subject = finalizer(drafts, log, SECOND + GRACE)
    assert asyncio.run(subject.finalize_due()) == BEHIND_S
    assert [end for end, _ in drafts.finalized] == [FIRST]
    asked = log.asked
    drafts.counted = {1: 2}
    assert asyncio.run(subject.finalize_due()) == 0
    assert [end for end, _ in drafts.finalized] == [FIRST, SECOND]
    assert log.asked == asked


def test_what_others_hold_is_looked_for_again_soon() -> None:
    drafts = Drafts([FIRST, SECOND], held=frozenset({FIRST}))
    subject = finalizer(drafts, MemoryLog(), SECOND + GRACE)
    assert asyncio.run(subject.finalize_due()) == HELD_S
    assert [end for end, _ in drafts.finalized] == [SECOND]


def test_late_marks_are_taken_until_there_are_none() -> None:
    drafts = Drafts([], late=[3, 200, 200])
    asyncio.run(finalizer(drafts, MemoryLog(), FIRST).compare_late())
    assert drafts.late == []
