"""POST /v1/usage/groups: usage of one customer under one metric, by window and group.

Without a group key every window is answered; with one, the groups that had usage in a window.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NotRequired

import asyncpg
from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from services.api.context import Parts
from services.api.customer_rows import fetch_customer
from services.api.errors import fault, refused
from services.api.metric_rows import fetch_metric
from services.api.paging import PAGE_MAX, Limit, NextPage, decode_cursor, encode_cursor
from services.api.replies import Number, Page, page
from services.api.request import ExactRoute
from services.api.usage_bodies import GroupsQuery
from services.api.usage_pairs import group_key_faults, group_keys_of
from services.api.usage_values import (
    Place,
    Series,
    TooManySeries,
    fetch_series,
    measure,
    measure_page,
    nothing,
    roll_up,
)
from services.api.windows import Windows
from services.domain.meter import Aggregation, grain_of
from services.domain.period import Period
from services.runtime.customer_terms import TERMS_COLUMNS, TermsShelf

router = APIRouter(tags=["Usage"], route_class=ExactRoute)

# Plans that hold at an instant.
_ACTIVE = f"""
SELECT {TERMS_COLUMNS} FROM customer_plan c WHERE c.customer_id = $1
  AND c.starting_on <= $2 AND (c.ending_before IS NULL OR c.ending_before > $2)
"""  # noqa: S608 (constants)

Group = tuple[str | None, ...]


class GroupUsage(TypedDict):
    """Metronome's PagedUsageAggregate."""

    starting_on: datetime
    ending_before: datetime
    value: Number | None
    group: NotRequired[dict[str, str]]
    group_key: str | None
    group_value: str | None


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of the database."""

    connection: asyncpg.Connection
    aggregation: Aggregation
    windows: Windows
    limit: int
    place: list[Any] | None  # of the last value shown


@router.post("/v1/usage/groups", responses={200: {"model": Page[GroupUsage]}})
async def list_usage_groups(
    body: GroupsQuery, parts: Parts, limit: Limit = PAGE_MAX, next_page: NextPage = None
) -> Response:
    """Usage of one customer under one metric, in order of window, then group."""
    async with parts.reading() as connection:
        await fetch_customer(connection, body.customer_id)
        metric = await fetch_metric(connection, body.billable_metric_id)
        group_keys = group_keys_of(metric["group_keys"])
        if body.key:
            field = "group_by.key" if body.group_by is not None else "group_key"
            faults = group_key_faults(field, body.key, group_keys)
            if faults:
                raise refused(*faults)
        period = await _range(connection, body, parts.now())
        try:
            series = await fetch_series(connection, [body.customer_id], [body.billable_metric_id])
        except TooManySeries as error:
            raise refused(fault("billable_metric_id", "has too many group values")) from error
        question = _Question(
            connection,
            Aggregation(metric["aggregation_type"]),
            Windows.of(period, body.window_size),
            limit,
            decode_cursor(next_page, int, list),
        )
        if body.key:
            groups = _groups(series, grain_of(group_keys), body)
            items, cursor = await _grouped(question, body.key, groups)
        else:
            items, cursor = await _whole(question, series)
    return page(items, cursor)


async def _range(connection: asyncpg.Connection, body: GroupsQuery, now: datetime) -> Period:
    """The dates given, or the current billing period over the customer's plans."""
    if body.starting_on is not None and body.ending_before is not None:
        return Period(body.starting_on, body.ending_before)
    rows = await connection.fetch(_ACTIVE, body.customer_id, now)
    periods = [
        billed.held
        for terms in await TermsShelf().get(connection, rows)
        if (billed := terms.schedule.period_at(now)) is not None
    ]
    if not periods:
        raise refused(fault("current_period", "the customer has no active plan"))
    return Period(min(p.start for p in periods), max(p.end for p in periods))


async def _whole(question: _Question, series: list[Series]) -> tuple[list[GroupUsage], str | None]:
    aggregation, windows = question.aggregation, question.windows
    first = 0 if question.place is None else max(0, question.place[0])
    last = min(first + question.limit, windows.count) - 1
    if first > last:
        return [], None
    chosen = {aggregation: [(line.id, 0) for line in series]}
    values = await measure(question.connection, chosen, windows, first, last)
    items = [
        _usage(windows, number, values.get(Place(number, 0), nothing(aggregation)), [], ())
        for number in range(first, last + 1)
    ]
    return items, encode_cursor(last + 1, []) if last + 1 < windows.count else None


def _groups(
    series: list[Series], grain: tuple[str, ...], body: GroupsQuery
) -> dict[Group, list[int]]:
    """Series by the values of the query's key, those that pass its filters."""
    groups: dict[Group, list[int]] = {}
    key, wanted = body.key, body.wanted
    for line in series:
        group = roll_up(line.group, grain, key)
        values = zip(key, group, strict=True)
        if all(name not in wanted or value in wanted[name] for name, value in values):
            groups.setdefault(group, []).append(line.id)
    return groups


def _order(group: Group) -> list[tuple[bool, str]]:
    """Missing values first, then by code point."""
    return [(value is not None, value or "") for value in group]


async def _grouped(
    question: _Question, key: list[str], groups: dict[Group, list[int]]
) -> tuple[list[GroupUsage], str | None]:
    windows, limit, place = question.windows, question.limit, question.place
    ordered = sorted(groups, key=_order)
    pairs = [(line, bucket) for bucket, group in enumerate(ordered) for line in groups[group]]
    after = Place(-1, -1)
    if place is not None:
        # Groups may have come since: the last one shown is found again by its values.
        shown = [group for group in ordered if _order(group) <= _order(tuple(place[1]))]
        after = Place(place[0], len(shown) - 1)
    rows = await measure_page(
        question.connection, question.aggregation, pairs, windows, (after, limit + 1)
    )
    items = [
        _usage(windows, spot.window, value, key, ordered[spot.bucket])
        for spot, value in rows[:limit]
    ]
    if len(rows) <= limit:
        return items, None
    last = rows[limit - 1][0]
    return items, encode_cursor(last.window, list(ordered[last.bucket]))


def _usage(
    windows: Windows, number: int, value: Decimal | None, key: list[str], group: Group
) -> GroupUsage:
    window = windows.window(number)
    single = len(key) == 1
    usage = GroupUsage(
        starting_on=window.start,
        ending_before=window.end,
        value=value,
        group_key=key[0] if single else None,
        group_value=group[0] if single else None,
    )
    if key:
        # Metronome's map has no nulls: a property that the events lacked is left out.
        named = zip(key, group, strict=True)
        usage["group"] = {name: text for name, text in named if text is not None}
    return usage
