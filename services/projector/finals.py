"""The port to what becomes final: drafts whose time has come, and finalized invoices whose period
has moved since. What final means is decided in `services.domain.invoice_life`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID


class Due(NamedTuple):
    """When drafts are finalized, and since when they could be."""

    now: datetime
    due_at: datetime  # end of the grace: everything accepted before it is counted


class Finalized(NamedTuple):
    """What one transaction did of those that it looked at."""

    finalized: int
    last: UUID | None  # where to go on; None: there are no more of this end


class Finals(Protocol):
    """Finalizes and compares; each call is one transaction, and any number of processes may call
    at the same time."""

    async def next_end(self, after: datetime | None, until: datetime) -> datetime | None:
        """The earliest end of a draft's period beyond `after`, up to `until`, inclusive."""
        ...

    async def positions(self) -> Mapping[int, int]:
        """By partition, the next raw offset that the live generation expects."""
        ...

    async def finalize(
        self, end: datetime, after: UUID | None, offsets: Mapping[int, int], due: Due
    ) -> Finalized:
        """Price once more and finalize some drafts of periods that end at `end`, in order of id,
        after that one. `offsets`: positions below them finalize nothing."""
        ...

    async def compare_late(self, now: datetime) -> int:
        """Compare some finalized invoices whose usage moved with what they would be; returns how
        many marks were taken."""
        ...
