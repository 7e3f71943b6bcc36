"""POST /v1/usage: usage of many customers and metrics by window. Reads what was counted, only.

A pair of customer and metric that the query names is answered for every window, with 0 (COUNT,
SUM, UNIQUE) or null (MAX, LATEST) where nothing was. When the query leaves customers or metrics
open, only pairs with usage in the range are answered: all pairs of everything would be noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NotRequired
from uuid import UUID

import asyncpg
from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from services.api.context import Parts
from services.api.errors import fault, refused
from services.api.paging import NextPage, decode_cursor, encode_cursor
from services.api.replies import Number, Page, page
from services.api.request import ExactRoute
from services.api.usage_bodies import GROUP_VALUES_MAX, GroupBy, UsageQuery
from services.api.usage_pairs import Pair, check_named, fetch_pairs
from services.api.usage_values import (
    Place,
    Series,
    TooManySeries,
    fetch_series,
    measure,
    nothing,
    roll_up,
)
from services.api.windows import Windows
from services.domain.meter import Aggregation, grain_of
from services.domain.period import Period

# Values of a page; with groups a value is up to 200 numbers.
ROWS_MAX = 1_000
GROUPED_ROWS_MAX = 100

router = APIRouter(tags=["Usage"], route_class=ExactRoute)


class Usage(TypedDict):
    """Metronome's UsageBatchAggregate."""

    customer_id: UUID
    billable_metric_id: UUID
    billable_metric_name: str
    start_timestamp: datetime
    end_timestamp: datetime
    value: Number | None
    groups: NotRequired[dict[str, Number | None]]


@dataclass(slots=True)
class _Buckets:
    """What is summed together: for each pair its whole, and each value of its group."""

    wholes: dict[tuple[UUID, UUID], int] = field(default_factory=dict)
    groups: dict[tuple[UUID, UUID], dict[str, int]] = field(default_factory=dict)
    chosen: dict[Aggregation, list[tuple[int, int]]] = field(default_factory=dict)
    count: int = 0

    def next(self) -> int:
        """A fresh bucket number."""
        self.count += 1
        return self.count - 1


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the database said."""

    windows: Windows
    buckets: _Buckets
    values: Mapping[Place, Decimal | None]


@router.post("/v1/usage", responses={200: {"model": Page[Usage]}})
async def list_usage(body: UsageQuery, parts: Parts, next_page: NextPage = None) -> Response:
    """Usage of customers under metrics, by window, in order of customer, metric, window."""
    windows = Windows.of(Period(body.starting_on, body.ending_before), body.window_size)
    grouped = {
        metric.id: metric.group_by for metric in body.billable_metrics or [] if metric.group_by
    }
    rows_max = GROUPED_ROWS_MAX if grouped else ROWS_MAX
    place = decode_cursor(next_page, int, int, int) or [0, 0, 0]
    first_window = place[2] if 0 <= place[2] < windows.count else 0
    async with parts.reading() as connection:
        await check_named(connection, body)
        needed = (rows_max + first_window) // windows.count + 2
        pairs = await fetch_pairs(connection, body, (place[0], place[1]), needed)
        places = _places(pairs, windows.count, first_window, rows_max + 1)
        cursor = None
        if len(places) > rows_max:
            pair, number = places.pop()
            cursor = encode_cursor(*pair.place, number)
        items = await _values(connection, places, windows, grouped)
    return page(items, cursor)


def _places(pairs: list[Pair], count: int, first_window: int, limit: int) -> list[tuple[Pair, int]]:
    """The next rows of the reply: every window of every pair, in order."""
    places: list[tuple[Pair, int]] = []
    for pair in pairs:
        start = 0 if places else first_window
        end = min(count, start + limit - len(places))
        places.extend((pair, number) for number in range(start, end))
    return places


async def _values(
    connection: asyncpg.Connection,
    places: list[tuple[Pair, int]],
    windows: Windows,
    grouped: Mapping[UUID, GroupBy],
) -> list[Usage]:
    if not places:
        return []
    pairs = {pair.key: pair for pair, _ in places}
    try:
        series = await fetch_series(
            connection,
            list({pair.customer_id for pair in pairs.values()}),
            list({pair.metric_id for pair in pairs.values()}),
        )
    except TooManySeries as error:
        reason = "name fewer customers or metrics: this touches too many group values at once"
        raise refused(fault("customer_ids", reason)) from error
    buckets = _choose(pairs, series, grouped)
    numbers = [number for _, number in places]
    values = await measure(connection, buckets.chosen, windows, min(numbers), max(numbers))
    answer = _Answer(windows, buckets, values)
    return [_usage(pair, number, answer, grouped.get(pair.metric_id)) for pair, number in places]


def _choose(
    pairs: Mapping[tuple[UUID, UUID], Pair],
    series: list[Series],
    grouped: Mapping[UUID, GroupBy],
) -> _Buckets:
    buckets = _Buckets()
    for line in series:
        key = (line.customer_id, line.metric_id)
        pair = pairs.get(key)
        if pair is None:
            continue
        chosen = buckets.chosen.setdefault(pair.aggregation, [])
        if key not in buckets.wholes:
            buckets.wholes[key] = buckets.next()
        chosen.append((line.id, buckets.wholes[key]))
        group_by = grouped.get(line.metric_id)
        if group_by is None:
            continue
        (value,) = roll_up(line.group, grain_of(pair.group_keys), [group_by.key])
        # Usage without the property is in the whole, and in no group.
        if value is None or not (group_by.values is None or value in group_by.values):
            continue
        groups = buckets.groups.setdefault(key, {})
        if value not in groups:
            groups[value] = buckets.next()
        chosen.append((line.id, groups[value]))
    return buckets


def _usage(pair: Pair, number: int, answer: _Answer, group_by: GroupBy | None) -> Usage:
    window, values = answer.windows.window(number), answer.values
    whole = Place(number, answer.buckets.wholes.get(pair.key, -1))
    usage = Usage(
        customer_id=pair.customer_id,
        billable_metric_id=pair.metric_id,
        billable_metric_name=pair.metric_name,
        start_timestamp=window.start,
        end_timestamp=window.end,
        value=values.get(whole, nothing(pair.aggregation)),
    )
    if group_by is not None:
        known = answer.buckets.groups.get(pair.key, {})
        if group_by.values is not None:
            # Every value asked for, null where it has no match in this window.
            usage["groups"] = {
                value: values.get(Place(number, known.get(value, -1))) for value in group_by.values
            }
        else:
            present = sorted(v for v in known if Place(number, known[v]) in values)
            usage["groups"] = {
                value: values[Place(number, known[value])] for value in present[:GROUP_VALUES_MAX]
            }
    return usage
