"""The port to generations: which there are, which is live, and the swap. Counts nothing."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.projector.projection import Position
from services.runtime.metric_rows import CatalogHistory


class Source(StrEnum):
    """What a generation was counted from."""

    LIVE = "live"  # the first one: by the projector, as events came
    UNIQUE = "unique"
    RAW = "raw"  # deduplicated afresh, with an index of its own


class State(StrEnum):
    """Where a generation stands."""

    BUILDING = "BUILDING"
    LIVE = "LIVE"
    RETIRED = "RETIRED"  # it was live and can be again
    DROPPED = "DROPPED"


@dataclass(frozen=True, slots=True)
class Generation:
    """One whole count of the log."""

    id: int
    state: State
    source: Source
    catalog_version: int  # no range of it is counted under an older catalog
    created_at: datetime
    promoted_at: datetime | None
    predecessor: int | None  # what was live before it


class GenerationError(Exception):
    """What was asked cannot be done with this generation; the message says why and what can."""


class HeldLive(Protocol):
    """The live generation while nothing moves in it."""

    @property
    def generation(self) -> int: ...

    @property
    def positions(self) -> Mapping[int, Position]:
        """By partition."""
        ...

    async def promote(self, generation: int, *, back: bool) -> None:
        """Make a generation live when the context ends well; drafts show it from then on.

        `back`: to the predecessor, which keeps its own. Raises GenerationError unless it stands
        exactly where the live one does.
        """
        ...


class Generations(Protocol):
    """Where generations are kept. Raises the adapter's connection errors."""

    async def create(self, source: Source) -> Generation:
        """A new, empty generation under the catalog as it is now."""
        ...

    async def get(self, generation: int) -> Generation:
        """Raises GenerationError when there is none."""
        ...

    async def all(self) -> list[Generation]:
        """Oldest first."""
        ...

    async def live(self) -> int:
        """Which one is live."""
        ...

    async def positions(self, generation: int) -> Mapping[int, Position]:
        """Where it stands, by partition."""
        ...

    async def history(self) -> CatalogHistory:
        """The metrics of every version up to now."""
        ...

    def hold_live(self) -> AbstractAsyncContextManager[HeldLive]:
        """Stop live counting and pricing for the moment that the context takes."""
        ...

    async def drop(self, generation: int) -> None:
        """Delete everything of a generation; once begun it can only be finished, by calling again.

        Raises GenerationError for the live one.
        """
        ...
