"""The port to the catalog of metrics."""

from typing import Protocol

from services.domain.catalog import Catalog


class CatalogSource(Protocol):
    """Where rating gets its metrics."""

    async def current(self, held: Catalog | None) -> Catalog:
        """The catalog as it is now: `held` itself when it is still the newest version.

        Asked after a batch was received, so that whatever was answered 200 before an event was
        posted applies to that event (DESIGN section 5). Waits while the database is away: rating
        with an old catalog would under-bill in silence.
        """
        ...
