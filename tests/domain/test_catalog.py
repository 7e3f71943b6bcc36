"""The catalog's shortcut by event type finds exactly what asking every metric would find."""

from hypothesis import given
from hypothesis import strategies as st

from services.domain.catalog import Catalog
from services.domain.event import Event
from services.domain.meter import BillableMetric
from tests.domain.strategies import START, events, matches, metrics

held = st.lists(metrics(), max_size=8, unique_by=lambda m: m.id)


@given(held, events)
def test_candidates_equal_brute_force(given_metrics: list[BillableMetric], event: Event) -> None:
    catalog = Catalog(1, tuple(given_metrics))
    shortcut = [m for m in catalog.candidates(event.event_type) if matches(m, event)]
    assert shortcut == [m for m in given_metrics if matches(m, event)]


@given(held)
def test_a_type_that_no_metric_names_meets_those_that_take_any_type(
    given_metrics: list[BillableMetric],
) -> None:
    event = Event("t", "c", "never named", START)
    catalog = Catalog(1, tuple(given_metrics))
    shortcut = [m for m in catalog.candidates("never named") if matches(m, event)]
    assert shortcut == [m for m in given_metrics if matches(m, event)]
