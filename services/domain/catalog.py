"""A snapshot of the metrics that count, with its version. Immutable; never fetches anything."""

from dataclasses import dataclass, field

from services.domain.meter import BillableMetric


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every metric that is not archived, as of one version of the catalog."""

    version: int
    metrics: tuple[BillableMetric, ...]
    _by_event_type: dict[str, tuple[BillableMetric, ...]] = field(init=False, repr=False)
    _for_others: tuple[BillableMetric, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        named = {
            event_type
            for metric in self.metrics
            if metric.event_types.allowed is not None
            for event_type in metric.event_types.allowed
        }
        by_type = {
            event_type: tuple(m for m in self.metrics if m.event_types.passes(event_type))
            for event_type in named
        }
        object.__setattr__(self, "_by_event_type", by_type)
        others = tuple(m for m in self.metrics if m.event_types.allowed is None)
        object.__setattr__(self, "_for_others", others)

    def candidates(self, event_type: str) -> tuple[BillableMetric, ...]:
        """Metrics whose filters are worth asking for an event of this type."""
        return self._by_event_type.get(event_type, self._for_others)
