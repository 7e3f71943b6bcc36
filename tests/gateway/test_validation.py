"""What a request may hold: every bad event is named with index, field and reason, nothing is
accepted beside one, and what is accepted keeps every digit.
"""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from services.gateway.validation import BadRequest, EventFault, accept, split_array
from services.runtime.events import Fault, WireEvent, check_event, decode_event
from tests.gateway.bodies import (
    BAD,
    GOOD,
    NEWEST,
    NO_ARRAY,
    NOW,
    OLDEST,
    TICK,
    array,
    at,
    fields,
    nested,
    text,
    with_property,
)


def refused(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        accept(body, NOW)
    return caught.value


def says_the_same(found: WireEvent | Fault, event: WireEvent) -> bool:
    """Whichever of the two classes they are."""
    return isinstance(found, WireEvent) and astuple(found) == astuple(event)


def canonical(body: bytes) -> list[bytes]:
    return [content for _, content in accept(body, NOW)]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_is_named_by_index_field_and_reason(name: str) -> None:
    element, field, reason = BAD[name]
    refusal = refused(array(GOOD, element, GOOD))
    [fault] = refusal.faults
    assert fault.index == 1
    assert fault.field.startswith(field) if field else fault.field == ""
    assert reason in fault.reason
    assert "event 1" in refusal.message
    assert fault.reason[:60] in refusal.message


def test_all_bad_events_are_named_together_while_good_ones_are_between_them() -> None:
    chosen = list(BAD.values())[:49]
    elements = [GOOD]
    for element, _, _ in chosen:
        elements += [element, GOOD]
    faults = refused(array(*elements)).faults
    assert [fault.index for fault in faults] == list(range(1, 99, 2))
    assert [(f.field, f.reason) for f in faults] == [
        (f.field, f.reason) for f in map(alone, chosen)
    ]


def alone(bad: tuple[bytes, str, str]) -> EventFault:
    """What is said of it in a request of its own."""
    return refused(array(bad[0], GOOD)).faults[0]


def test_the_message_names_three_and_counts_the_rest() -> None:
    refusal = refused(array(*[b"{}"] * 5))
    assert len(refusal.faults) == 5
    assert "5 bad" in refusal.message
    assert "2 more" in refusal.message


@pytest.mark.parametrize("name", NO_ARRAY)
def test_a_body_that_is_no_array_of_events_is_explained(name: str) -> None:
    body, reason = NO_ARRAY[name]
    refusal = refused(body)
    assert refusal.faults == []
    assert reason in refusal.message


@pytest.mark.timeout(20)
def test_a_text_that_is_never_closed_costs_no_more_than_its_length() -> None:
    """Tried from every quote in it, these 400 kB would take minutes of the gateway's one thread."""
    assert "cut off" in refused(b'["' + b'\\"' * 200_000).message


@pytest.mark.parametrize("instant", [OLDEST, NEWEST, NOW])
@pytest.mark.parametrize("hours", [0, 14, -12])
def test_both_edges_of_the_time_window_are_accepted_in_any_zone(
    instant: datetime, hours: int
) -> None:
    zoned = instant.astimezone(timezone(timedelta(hours=hours)))
    [(event, content)] = accept(array(text(timestamp=at(zoned))), NOW)
    assert event.timestamp == instant
    assert decode_event(content).timestamp == instant


def test_beyond_either_edge_the_other_events_are_not_accepted_either() -> None:
    old, ahead = text(timestamp=at(OLDEST - TICK)), text(timestamp=at(NEWEST + TICK))
    assert [fault.index for fault in refused(array(old, GOOD, ahead)).faults] == [0, 2]


@pytest.mark.parametrize(
    "element",
    [
        text(transaction_id="x" * 128, customer_id="x" * 128, event_type="x" * 256),
        text(transaction_id="\U0001f600" * 128),
        text(properties=None),
        text(properties={}),
        text(properties={str(n): "" for n in range(2_000)}),
        text(unknown={"field": [1]}),
        text(customer_id="nobody we know"),
        nested(32),
        with_property("9" * 38 + "." + "9" * 38),
        with_property("-1e37"),
        with_property("1e-38"),
        with_property(r'"\ud83d\ude00"'),
        with_property(r'"\\u0000"'),  # a backslash and a u, no NUL
        with_property('"' + "x" * 261_000 + '"'),
    ],
)
def test_what_is_at_a_limit_is_accepted_and_dedup_accepts_it_too(element: bytes) -> None:
    [(event, content)] = accept(array(element), NOW)
    assert says_the_same(check_event(content), event)


def test_space_within_an_event_does_not_count_for_its_size() -> None:
    roomy = GOOD[:-1] + b" " * 300_000 + b"}"
    assert canonical(array(roomy)) == canonical(array(GOOD))
    assert [fault.index for fault in refused(array(roomy, b"{}")).faults] == [1]


def test_a_hundred_events_are_accepted_in_order() -> None:
    body = array(*(text(transaction_id=f"t-{n}") for n in range(100)))
    assert [event.transaction_id for event, _ in accept(body, NOW)] == [
        f"t-{n}" for n in range(100)
    ]


@pytest.mark.parametrize(
    "digits",
    [
        "0.1000000000000000000000000001",
        "0.1",
        "1.10",
        "12345678901234567890123456789012345678",
        "-12345678901234567890.12345678901234567890",
        "9007199254740993",
        "18446744073709551617",
        "0.30000000000000004",
    ],
)
def test_every_digit_of_a_number_is_kept(digits: str) -> None:
    [content] = canonical(array(with_property(digits)))
    assert b'{"n":' + digits.encode() + b"}" in content


def test_text_is_kept_as_it_is() -> None:
    odd = '\u00e4 a\u0308 \u6f22 \U0001f600 " \\ / \t'
    [content] = canonical(array(text(transaction_id=odd, properties={odd: odd})))
    assert json.loads(content) == fields(transaction_id=odd, properties={odd: odd})


# Order, space, escapes and the zone of the timestamp say nothing about what happened.
VARIANTS = [
    array(text(properties={"a": 1, "b": {"x": [1.5], "y": None}})),
    array(text(properties={"b": {"y": None, "x": [1.5]}, "a": 1})),
    json.dumps([fields(properties={"a": 1, "b": {"x": [1.5], "y": None}})], indent=4).encode(),
    array(
        json.dumps(
            dict(reversed(fields(properties={"a": 1, "b": {"x": [1.5], "y": None}}).items()))
        ).encode()
    ),
    array(
        text(
            timestamp="2026-11-24T13:00:00.000+01:00",
            properties={"a": 1, "b": {"x": [1.5], "y": None}},
        )
    ).replace(b'"transfer"', rb'"tr\u0061nsfer"'),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_event_has_the_same_bytes_however_it_is_written(variant: bytes) -> None:
    """Otherwise a retry by another client would be taken for a conflict."""
    assert canonical(variant) == canonical(VARIANTS[0])


@pytest.mark.parametrize(
    "change",
    [
        {"customer_id": "d"},
        {"event_type": "Transfer"},
        {"timestamp": "2026-11-24T12:00:00.000001Z"},
        {"properties": {"bytes": 5000}},
        {"properties": {"bytes": "5000", "x": None}},
        {"properties": {}},
    ],
)
def test_another_event_has_other_bytes(change: dict[str, object]) -> None:
    assert canonical(array(text(**change))) != canonical(array(GOOD))


@pytest.mark.parametrize("properties", [{"timestamp": "x.123456789"}, {"bytes": 1.123456789}])
def test_a_time_finer_than_a_microsecond_is_cut_and_stays_in_its_hour(
    properties: dict[str, object],
) -> None:
    """Rounded it would be in the next hour, day or billing period."""
    at = "2026-11-24T11:59:59"
    times = [f"{at}.999999999Z", f"{at}.9999995Z", f"{at}.999999Z", f"{at}.9Z", f"{at}Z"]
    body = array(*(text(timestamp=each, properties=properties) for each in times))
    kept = [event.timestamp for event, _ in accept(body, NOW)]
    last = datetime(2026, 11, 24, 11, 59, 59, 999_999, UTC)
    assert kept[:3] == [last] * 3
    assert kept[3:] == [last.replace(microsecond=900_000), last.replace(microsecond=0)]
    assert {json.dumps(json.loads(each)["properties"]) for _, each in accept(body, NOW)} == {
        json.dumps(properties)
    }


def accepted_or_refused(body: bytes) -> list[tuple[WireEvent, bytes]] | BadRequest:
    """What accept makes of it; anything else it raises is a fault of ours."""
    try:
        return accept(body, NOW)
    except BadRequest as refusal:
        return refusal


pieces = st.sampled_from(
    [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u0000", b"\x00", b"\xff", b"1e999", b" "]
)


@given(
    st.sampled_from([{"a": [1, {"b": "c"}]}, {"a": "1"}]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 4), pieces), max_size=4),
)
def test_a_damaged_body_is_refused_with_words_or_accepted_for_dedup_too(
    properties: dict[str, object], edits: list[tuple[int, int, bytes]]
) -> None:
    body = array(GOOD, text(properties=properties))
    for place, cut, piece in edits:
        body = body[:place] + piece + body[place + cut :]
    found = accepted_or_refused(body)
    if isinstance(found, BadRequest):
        assert found.message
        assert all(fault.reason for fault in found.faults)
    else:
        assert all(says_the_same(check_event(content), event) for event, content in found)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a,"\\[]{}', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=8,
)


@given(st.lists(values, max_size=6), st.sampled_from([None, 0, 2]))
def test_splitting_finds_the_elements_that_a_parser_finds(
    elements: list[object], indent: int | None
) -> None:
    parts = list(split_array(json.dumps(elements, indent=indent).encode()))
    assert [json.loads(part) for part in parts] == elements


@pytest.mark.parametrize(
    "name", ["\0", "\u202e", "\x1b[31m", "x" * 100_000, "line\nbreak", "\U000e0001"]
)
def test_a_propertys_name_in_a_reason_is_short_and_holds_nothing_a_database_refuses(
    name: str,
) -> None:
    fault = check_event(text(properties={name: [10**60]}))
    assert isinstance(fault, Fault)
    assert fault.field.isprintable()
    assert len(fault.field) < 1_000


def test_dedup_takes_any_time_whose_month_has_an_end() -> None:
    """The window is the gateway's; a record written by others may say any year but the last."""
    assert isinstance(check_event(text(timestamp="1970-01-01T00:00:00Z")), WireEvent)
    assert isinstance(check_event(text(timestamp="9998-12-31T23:59:59Z")), WireEvent)
    assert isinstance(check_event(text(timestamp="9999-01-01T00:00:00Z")), Fault)


def test_now_may_be_told_in_any_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-9)))
    assert accept(array(text(timestamp=at(OLDEST))), elsewhere)[0][0].timestamp == OLDEST
    assert NOW.tzinfo is UTC
