"""The port to a consumer in a group: somebody gives out partitions, the owner says where to read.

Decides nothing: it never picks an offset itself, neither at an assignment nor when one is gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from services.runtime.log import Record


class OffsetsGone(Exception):
    """Positions are outside of what the log holds: it was truncated, deleted or made anew."""

    def __init__(self, topic: str, offsets: Mapping[int, int]) -> None:
        places = ", ".join(f"{topic}[{p}]@{offset}" for p, offset in sorted(offsets.items()))
        super().__init__(
            f"{places}: the log does not hold this offset any more. It was truncated, deleted or"
            " made anew. This partition stops and the others go on. Nothing was skipped: restore"
            " the missing records, or replay what is left."
        )
        self.topic = topic
        self.offsets = dict(offsets)  # partition -> the offset that was to be read


class GroupLost(Exception):
    """Records come, and the group does not answer: somebody else may have the partitions."""

    def __init__(self, group: str, reason: Exception) -> None:
        super().__init__(
            f"{group}: Kafka has not answered this consumer group for long, though records are"
            f" read ({reason!r}). The process ends, and joins the group anew when it is started"
            " again; nothing is lost."
        )


class Assignee(Protocol):
    """Who is told which partitions the group gives and takes. Must not raise."""

    async def assigned(self, partitions: Sequence[int]) -> None:
        """Every partition held from now on, those held before included; each needs a seek."""
        ...

    async def revoked(self, partitions: Sequence[int]) -> None:
        """All that were held: the group is about to give them out anew."""
        ...


class Consumer(Protocol):
    """Reads the partitions of one topic that its group gives it."""

    async def start(self, assignee: Assignee) -> None:
        """Join the group."""
        ...

    async def stop(self) -> None:
        """Leave the group."""
        ...

    async def poll(self, records_max: int) -> Mapping[int, Sequence[Record]]:
        """The next records by partition, each in order and without holes; empty after a moment in
        which none came. They may belong to partitions that are no longer held, or stand before a
        seek made meanwhile. Raises OffsetsGone, again and again until a seek or a pause; other
        errors of the adapter end the process."""
        ...

    def behind(self) -> bool:
        """Whether the log held more than the last poll brought, so that the next one need not
        wait for anything. When it did not, nothing is read ahead: what comes until the next poll
        comes with it, in one piece."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Read on from `offset`, paused or not; nothing when the partition is not held."""
        ...

    def pause(self, partition: int) -> None:
        """Give no records of it until it is assigned again, or a seek; nothing when it is not
        held."""
        ...

    def assignment(self) -> Iterable[int]:
        """The partitions held now."""
        ...

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Tell lag tools how far each partition is. Nothing of ours reads it, so a want of an
        answer is no error. Raises GroupLost after a row of them."""
        ...
