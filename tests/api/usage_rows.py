"""Counted usage, stored as the projector does, and queries about it."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.domain.aggregate import EPOCH, HOUR, Aggregate, Latest
from services.domain.meter import Aggregation
from services.domain.number import ZERO
from services.runtime.json import encode_json
from tests.api.conftest import Api, Scenario

Play = Callable[[Scenario], None]
DAY = datetime(2026, 11, 2, tzinfo=UTC)
Fact = tuple[str, tuple[str | None, ...], datetime, str]  # reference, group, time, value


def counted(kind: Aggregation, number: Latest) -> Aggregate:
    """One event's number under SUM, MAX or LATEST."""
    return Aggregate(
        1,
        number.value if kind is Aggregation.SUM else ZERO,
        number.value if kind is Aggregation.MAX else None,
        number if kind is Aggregation.LATEST else None,
    )


async def count(api: Api, metric: str, kind: Aggregation, facts: Iterable[Fact]) -> None:
    """Store one event a fact, merged by hour, as the projector would."""
    hours: dict[tuple[str, tuple[str | None, ...], datetime], Aggregate] = {}
    for offset, (reference, group, at, value) in enumerate(facts):
        start = EPOCH + (at - EPOCH) // HOUR * HOUR
        aggregate = hours.setdefault((reference, group, start), Aggregate())
        if kind in (Aggregation.COUNT, Aggregation.UNIQUE):
            aggregate.count += 1
            aggregate.distinct.add(value)
        else:
            aggregate.merge(counted(kind, Latest(at, 0, offset, Decimal(value))))
    for (reference, group, start), total in hours.items():
        await _store(api, metric, kind, (reference, group, start), total)


async def _store(
    api: Api,
    metric: str,
    kind: Aggregation,
    key: tuple[str, tuple[str | None, ...], datetime],
    total: Aggregate,
) -> None:
    reference, group, start = key
    series = await api.pool.fetchval(
        "INSERT INTO usage_series (reference, metric_id, group_values) VALUES ($1, $2, $3)"
        " ON CONFLICT (generation, reference, metric_id, group_values) DO UPDATE SET reference = $1"
        " RETURNING id",
        reference,
        metric,
        encode_json(group).decode(),
    )
    latest = total.latest
    await api.pool.execute(
        "INSERT INTO usage_hour VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        series,
        start,
        total.count,
        total.total,
        total.peak,
        *((None,) * 4 if latest is None else latest),
    )
    if kind is Aggregation.UNIQUE:
        await api.pool.executemany(
            "INSERT INTO usage_distinct VALUES ($1, $2, $3)",
            [(series, start, value) for value in total.distinct],
        )


def query(size: Any = "DAY", days: Any = 2, **fields: Any) -> dict[str, Any]:
    """A query from DAY on."""
    end = (DAY + timedelta(days=days)).isoformat()
    return {
        "starting_on": DAY.isoformat(),
        "ending_before": end,
        "window_size": size,
        **fields,
    }


def values(reply: dict[str, Any]) -> list[Any]:
    """The values of a reply, in order."""
    return [item["value"] for item in reply["data"]]


async def grouped_metric(api: Api, kind: str = "SUM") -> str:
    """A metric of two simple group keys and a compound one."""
    return await api.make_metric(kind, group_keys=[["zone"], ["area"], ["zone", "area"]])
