"""The oracle and the pipeline read the same in every record, by separate code."""

import ast
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import services.domain.reference as package
from services.domain.event import Event
from services.domain.meter import property_text
from services.domain.number import parse_number
from services.domain.reference.event_json import content_of, read_event, text_of_property
from services.domain.reference.numbers import number_of, plain_text
from services.runtime.events import WireEvent, check_event, checked_event
from tests.domain.raw_records import INSTANTS, JUNK, TEXTS, VALUES, events, written_event
from tests.domain.strategies import decimals

SOUND_INSTANT = INSTANTS[0]
# All that the oracle may have from elsewhere: types without a decision in them.
TYPES = {
    "AdjustmentType", "Aggregation", "BillableMetric", "BillingCycle", "BillingFrequency", "Charge",
    "ChargeType", "CreditGrant", "CreditType", "Event", "Minimum", "OverageRate", "Plan",
    "PriceAdjustment", "PropertyFilter", "Reason", "RoundingBehavior", "Tier", "Tiering",
    "UnitConversion", "ValueFilter",
}  # fmt: skip
# A module under this name is there for its constants only.
LIMITS = "limits"
# Their methods and computed fields, which decide.
DECIDES = {
    "matches", "passes", "group_of", "grain", "as_tuple", "quantize", "normalize", "plain_metrics",
    "products", "bases", "derived", "starts", "covers", "group_meters",
}  # fmt: skip


def agree(value: bytes) -> Event | None:
    """Both read the same; returns what the oracle read."""
    content = content_of(value)
    found, wanted = check_event(content), read_event(content)
    sooner = checked_event(content)
    if isinstance(found, WireEvent) and isinstance(sooner, WireEvent):
        # Its time is rounded, not cut.
        assert abs(sooner.timestamp - found.timestamp) <= timedelta(microseconds=1)
        sooner = msgspec.structs.replace(sooner, timestamp=found.timestamp)
    assert sooner == found
    assert isinstance(found, WireEvent) is isinstance(wanted, Event), (found, wanted)
    if not isinstance(wanted, Event):
        return None
    assert isinstance(found, WireEvent)
    assert found.transaction_id == wanted.transaction_id
    assert found.customer_id == wanted.customer_id
    assert found.event_type == wanted.event_type
    assert found.timestamp == wanted.timestamp
    assert found.properties.keys() == wanted.properties.keys()
    for name, held in found.properties.items():
        assert property_text(held) == text_of_property(wanted.properties[name])
        number = parse_number(held)
        exact = number_of(wanted.properties[name])
        assert exact == (None if number is None else Fraction(number))
    return wanted


@pytest.mark.parametrize("value", VALUES)
def test_a_property_is_read_alike(value: str) -> None:
    agree(written_event("1", SOUND_INSTANT, {"bytes": value}))


@pytest.mark.parametrize("instant", INSTANTS)
def test_a_timestamp_is_read_alike(instant: str) -> None:
    agree(written_event("1", instant, {}))


@pytest.mark.parametrize("junk", [junk for junk in JUNK if junk is not None])
def test_junk_is_none_to_both(junk: bytes) -> None:
    assert agree(junk) is None


def test_bytes_that_are_no_text_make_no_event_wherever_they_stand() -> None:
    event = written_event("1", SOUND_INSTANT, {}).replace(b"{", b'{"note": "\xff", ', 1)
    assert agree(event) is None


@given(events)
def test_events_are_read_alike(event: bytes) -> None:
    agree(event)


@given(events, st.data())
def test_damaged_events_are_read_alike(event: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(event)))
    end = data.draw(st.integers(at, min(len(event), at + 3)))
    put = data.draw(
        st.sampled_from([b"", b'"', b"}", b",", b"1", b"\\", b"\xc3", b"\n", b"-", b"e"])
    )
    agree(event[:at] + put + event[end:])


@given(st.one_of(st.sampled_from(TEXTS), st.text("+-.eE0123456789_ ", max_size=12)))
def test_numeric_text_is_read_alike(text: str) -> None:
    number = parse_number(text)
    assert number_of(text) == (None if number is None else Fraction(number))


@given(decimals(38, 38))
def test_numbers_are_shown_alike(number: object) -> None:
    assert plain_text(Fraction(str(number))) == property_text(number)


def test_the_oracle_shares_types_and_nothing_that_decides() -> None:
    [folder] = package.__path__
    sources = sorted(Path(folder).glob("*.py"))
    assert len(sources) > 3
    for source in sources:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("services"):
                if not (node.module or "").startswith("services.domain.reference"):
                    shared = {each.name for each in node.names if each.asname != LIMITS}
                    assert shared <= TYPES, source.name
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("services") for alias in node.names)
            elif isinstance(node, ast.Attribute):
                of_limits = isinstance(node.value, ast.Name) and node.value.id == LIMITS
                assert not of_limits or node.attr.isupper(), f"{source.name}:{node.lineno}"
                assert node.attr not in DECIDES, f"{source.name}:{node.lineno}"
