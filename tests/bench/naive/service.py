"""The naive metering service: FastAPI, pydantic, asyncpg, one transaction a request.

Written fairly: prepared statements, a pool, uvloop and httptools, rows in key order so that
requests wait for each other and never deadlock. A 200 means that the events are committed and in
the totals. Counts each transaction_id once, under two metrics: a sum of `bytes` by region, a count.
Two ways: event by event, as it is written first, and by sets, once somebody has measured.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, Field

POOL_MIN, POOL_MAX = 4, 8

_INSERT_ONE = """
INSERT INTO usage_event (transaction_id, customer_id, event_type, occurred_at, properties)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (transaction_id) DO NOTHING
RETURNING true
"""
_ADD_ONE = """
INSERT INTO usage_total AS held (customer_id, metric, group_value, month, total)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (customer_id, metric, group_value, month)
DO UPDATE SET total = held.total + excluded.total
"""

_INSERT = """
INSERT INTO usage_event (transaction_id, customer_id, event_type, occurred_at, properties)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::jsonb[])
ON CONFLICT (transaction_id) DO NOTHING
RETURNING transaction_id
"""
_ADD = """
INSERT INTO usage_total AS held (customer_id, metric, group_value, month, total)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::numeric[])
ON CONFLICT (customer_id, metric, group_value, month)
DO UPDATE SET total = held.total + excluded.total
"""

Key = tuple[str, str, str, date]  # customer, metric, group value, month


class Properties(BaseModel):
    """What the two metrics read."""

    bytes: Decimal
    region: str


class Event(BaseModel):
    """One usage event."""

    transaction_id: Annotated[str, Field(min_length=1, max_length=128)]
    customer_id: Annotated[str, Field(min_length=1, max_length=128)]
    event_type: Annotated[str, Field(min_length=1, max_length=256)]
    timestamp: AwareDatetime
    properties: Properties


Events = Annotated[list[Event], Field(min_length=1, max_length=100)]


@asynccontextmanager
async def _pool(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=POOL_MIN, max_size=POOL_MAX
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_pool)


def _check_token(authorization: Annotated[str, Header()]) -> None:
    if authorization != f"Bearer {os.environ['TOKEN']}":
        raise HTTPException(401)


@app.post("/v1/ingest_each", dependencies=[Depends(_check_token)])
async def ingest_each(events: Events, request: Request) -> dict[str, Any]:
    """Count the events, each id once: one event after the other."""
    _check_times(events)
    # An id comes with one customer only, so this is one order of locks for everybody.
    ordered = sorted(events, key=lambda event: (event.customer_id, event.transaction_id))
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        for event in ordered:
            if await connection.fetchval(_INSERT_ONE, *_row(event)):
                for key, total in sorted(_totals([event], {event.transaction_id}).items()):
                    await connection.execute(_ADD_ONE, *key, total)
    return {}


@app.post("/v1/ingest", dependencies=[Depends(_check_token)])
async def ingest(events: Events, request: Request) -> dict[str, Any]:
    """The same by sets."""
    _check_times(events)
    ordered = sorted(events, key=lambda event: event.transaction_id)
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        rows = zip(*map(_row, ordered), strict=True)
        new = await connection.fetch(_INSERT, *map(list, rows))
        totals = _totals(ordered, {row["transaction_id"] for row in new})
        if totals:
            added = zip(*((*key, total) for key, total in sorted(totals.items())), strict=True)
            await connection.execute(_ADD, *map(list, added))
    return {}


def _check_times(events: Sequence[Event]) -> None:
    now = datetime.now(UTC)
    for event in events:
        if not now - timedelta(days=34) <= event.timestamp <= now + timedelta(hours=24):
            raise HTTPException(400, f"the timestamp of {event.transaction_id} is out of bounds")


def _row(event: Event) -> tuple[object, ...]:
    properties = event.properties.model_dump_json()
    return event.transaction_id, event.customer_id, event.event_type, event.timestamp, properties


def _month(event: Event) -> date:
    return event.timestamp.astimezone(UTC).date().replace(day=1)


def _totals(events: Sequence[Event], new: set[str]) -> dict[Key, Decimal]:
    totals: dict[Key, Decimal] = defaultdict(Decimal)
    for event in events:
        if event.transaction_id not in new:
            continue
        new.remove(event.transaction_id)  # a second one of the same request
        month = _month(event)
        totals[event.customer_id, "sum", event.properties.region, month] += event.properties.bytes
        totals[event.customer_id, "count", "", month] += 1
    return totals
