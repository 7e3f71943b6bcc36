"""The metrics of a run, and how they change in the middle of it."""

from dataclasses import replace
from random import Random
from uuid import UUID

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric, ValueFilter

# Always there: its sum names the events that were counted.
UNITS = BillableMetric(UUID(int=1), "units", Aggregation.SUM, "units")
OTHERS = (
    BillableMetric(UUID(int=2), "events", Aggregation.COUNT, group_keys=(("region",),)),
    BillableMetric(UUID(int=3), "peak", Aggregation.MAX, "units"),
    BillableMetric(UUID(int=4), "last", Aggregation.LATEST, "units"),
    BillableMetric(UUID(int=5), "regions", Aggregation.UNIQUE, "region"),
    BillableMetric(UUID(int=6), "b only", Aggregation.SUM, "units", ValueFilter(frozenset({"b"}))),
)


def first_catalog(rng: Random) -> Catalog:
    """Version 1: the units, and some of the others."""
    return Catalog(1, (UNITS, *(metric for metric in OTHERS if rng.random() < 0.4)))


def changed_catalog(rng: Random, catalog: Catalog) -> Catalog:
    """The next version: one of the others is made or archived."""
    version = catalog.version + 1
    others = catalog.metrics[1:]
    if others and rng.random() < 0.4:
        gone = rng.choice(others)
        return Catalog(version, tuple(metric for metric in catalog.metrics if metric is not gone))
    made = rng.choice(OTHERS)
    # What is archived never returns: a new metric is another one.
    return Catalog(version, (*catalog.metrics, replace(made, id=UUID(int=100 + version))))
