"""Distinct values in PostgreSQL: however they came, and over whichever hours, their number is that
of the values seen in these hours.
"""

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from random import Random
from uuid import UUID

import asyncpg
import pytest

from services.domain.aggregate import Aggregate, AggregateKey, hour_of, hour_start
from services.domain.period import Period
from services.domain.reference.usage import Amount
from services.ops.verify_differences import Differences
from services.ops.verify_distinct import compare_distinct
from services.ops.verify_usage import At
from services.projector import distinct_postgres
from services.projector.distinct_postgres import Bucket, count_distinct
from tests.contract.conftest import Loop
from tests.contract.projections import Subject, in_postgres

METRIC = UUID(int=77)
OCTOBER, NOVEMBER, DECEMBER = (datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11, 12))
DAY = timedelta(days=1)
PERIODS = {
    "a month": (Period(NOVEMBER, DECEMBER), distinct_postgres.MONTH_COUNTS),
    "to the end of a month": (Period(NOVEMBER + 9 * DAY, DECEMBER), distinct_postgres.MONTH_VALUES),
    "from its beginning": (Period(NOVEMBER, NOVEMBER + 9 * DAY), distinct_postgres.MONTH_VALUES),
    "over the end of one": (
        Period(NOVEMBER - 9 * DAY, NOVEMBER + 9 * DAY),
        distinct_postgres.MONTH_VALUES,
    ),
    "two months": (Period(OCTOBER, DECEMBER), distinct_postgres.MONTH_VALUES),
    "a week": (Period(NOVEMBER + DAY, NOVEMBER + 8 * DAY), distinct_postgres.HOUR_VALUES),
}


def hours_of(random: Random) -> dict[int, set[str]]:
    """Values by hour, often at the edges of the periods above."""
    edges = [edge for period, _ in PERIODS.values() for edge in (period.start, period.end)]
    hours: dict[int, set[str]] = {}
    for _ in range(120):
        hour = hour_of(random.choice(edges)) + random.choice((-1, 0, 0, 1, 40))
        hours.setdefault(hour, set()).add(f"v{random.randrange(40)}")
    return hours


async def apply(subject: Subject, hours: dict[int, set[str]], random: Random) -> None:
    """In flushes of any size and order, some of it twice."""
    seen = [(hour, value) for hour, values in hours.items() for value in values]
    seen += random.sample(seen, 20)
    random.shuffle(seen)
    while seen:
        usage: dict[AggregateKey, Aggregate] = {}
        for hour, value in [seen.pop() for _ in range(min(len(seen), random.randint(1, 30)))]:
            key = AggregateKey("u", METRIC, (), hour)
            usage.setdefault(key, Aggregate()).merge(Aggregate(1, distinct={value}))
        await subject.apply(subject.flush(usage))


async def months(pool: asyncpg.Pool) -> list[tuple[object, ...]]:
    """What is kept by month."""
    values = await pool.fetch("SELECT * FROM usage_distinct_month ORDER BY starts_at, value")
    counts = await pool.fetch("SELECT starts_at, distinct_count FROM usage_month ORDER BY 1")
    return [tuple(row) for row in (*values, *counts)]


@pytest.mark.parametrize("seed", range(5))
def test_the_number_is_that_of_the_values_seen_in_the_period(
    loop: Loop, pool: asyncpg.Pool, seed: int
) -> None:
    async def scenario() -> None:
        random = Random(seed)
        hours = hours_of(random)
        await apply(await in_postgres(pool), hours, random)
        series = await pool.fetchval("SELECT id FROM usage_series")
        async with pool.acquire() as connection:
            for name, (period, query) in PERIODS.items():
                bucket = Bucket(7, [series], period)
                assert distinct_postgres.query_of(bucket) == query, name
                found = await count_distinct(connection, [bucket])
                expected = {
                    value
                    for hour, values in hours.items()
                    if period.start <= hour_start(hour) < period.end
                    for value in values
                }
                assert found == {7: len(expected)}, name

    loop.run(scenario())


def test_an_upgrade_makes_the_months_that_would_have_been_kept(
    loop: Loop, pool: asyncpg.Pool
) -> None:
    async def scenario() -> None:
        random = Random(9)
        await apply(await in_postgres(pool), hours_of(random), random)
        kept = await months(pool)
        await pool.execute(
            "TRUNCATE usage_distinct_month; UPDATE usage_month SET distinct_count = 0"
        )
        path = files("schemas").joinpath("postgres", "0009_distinct_months.sql")
        statements = path.read_text(encoding="utf-8").partition("insert into")
        await pool.execute("insert into" + statements[2].partition("-- Kept by")[0])
        assert await months(pool) == kept

    loop.run(scenario())


@pytest.mark.parametrize(
    ("tampering", "named"),
    [
        ("DELETE FROM usage_distinct WHERE value = 'v1'", "usage_distinct, "),
        ("DELETE FROM usage_distinct_month WHERE value = 'v1'", "usage_distinct_month, "),
        ("UPDATE usage_distinct_month SET last_at = last_at + interval '1 hour'", "'v1'"),
        ("UPDATE usage_month SET distinct_count = distinct_count + 1", "distinct_count"),
    ],
)
def test_verify_compares_hours_months_and_numbers(
    loop: Loop, pool: asyncpg.Pool, tampering: str, named: str
) -> None:
    async def scenario() -> None:
        random = Random(4)
        hours = hours_of(random)
        await apply(await in_postgres(pool), hours, random)
        expected = {
            At("u", METRIC, (), hour_start(hour)): Amount(distinct=values)
            for hour, values in hours.items()
        }
        async with pool.acquire() as connection, connection.transaction():
            sound, tampered = Differences(), Differences()
            await compare_distinct(connection, 0, expected, sound)
            assert sound.first == []
            await connection.execute(tampering)
            await compare_distinct(connection, 0, expected, tampered)
            assert any(named in each.where for each in tampered.first)

    loop.run(scenario())


def test_a_reference_that_leaves_its_customer_meanwhile_leaves_no_values(
    loop: Loop, pool: asyncpg.Pool
) -> None:
    async def scenario() -> None:
        async with pool.acquire() as connection:
            for period, _ in PERIODS.values():
                assert await count_distinct(connection, [Bucket(7, [], period)]) == {}

    loop.run(scenario())
