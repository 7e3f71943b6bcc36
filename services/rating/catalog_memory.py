"""The catalog of metrics in memory, for tests and simulation."""

from services.domain.catalog import Catalog


class MemoryCatalogSource:
    """See `services.rating.catalog.CatalogSource`; the test sets `catalog`."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    async def current(self, held: Catalog | None) -> Catalog:
        """See CatalogSource."""
        return self.catalog
