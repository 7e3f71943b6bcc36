"""The contract of what a projection adds up, in memory and in PostgreSQL: merging is the domain's
merging, and the totals of months follow.
"""

from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.aggregate import Aggregate, AggregateKey, Latest, hour_of
from services.domain.meter import Aggregation
from tests.contract.conftest import Loop
from tests.contract.projections import AT, PostgresReader, Subject, in_memory, in_postgres
from tests.domain.strategies import aggregates

KEY = AggregateKey("c", UUID(int=1), ("eu",), hour_of(AT))


@pytest.fixture(params=["memory", "postgres"])
def subject(request: pytest.FixtureRequest, loop: Loop) -> Subject:
    if request.param == "memory":
        return in_memory()
    return loop.run(in_postgres(request.getfixturevalue("pool")))


def test_merging_the_same_usage_twice_doubles_it(loop: Loop, subject: Subject) -> None:
    part = Aggregate(2, Decimal("0.1"), Decimal(5), Latest(AT, 0, 3, Decimal(7)), {"a", "b"})

    async def scenario() -> None:
        for _ in range(2):
            await subject.apply(subject.flush({KEY: deepcopy(part)}))
        held = (await subject.read.aggregates())[KEY]
        quantities = {kind: held.quantity(kind) for kind in Aggregation}
        assert quantities == {
            Aggregation.COUNT: Decimal(4),
            Aggregation.SUM: Decimal("0.2"),
            Aggregation.MAX: Decimal(5),
            Aggregation.LATEST: Decimal(7),
            Aggregation.UNIQUE: Decimal(2),
        }

    loop.run(scenario())


TIED = [
    Latest(AT, 0, 9, Decimal(1)),
    Latest(AT + timedelta(microseconds=1), 0, 7, Decimal(2)),
    Latest(AT + timedelta(microseconds=1), 1, 3, Decimal(3)),
    Latest(AT + timedelta(microseconds=1), 1, 4, Decimal(-4)),
]


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_latest_is_by_time_then_place_in_whatever_order_it_came(
    loop: Loop, subject: Subject, order: tuple[int, ...]
) -> None:
    async def scenario() -> None:
        await subject.apply(subject.flush({KEY: Aggregate(1)}))  # no value yet
        for index in order:
            await subject.apply(subject.flush({KEY: Aggregate(1, latest=TIED[index])}))
        await subject.apply(subject.flush({KEY: Aggregate(1)}))
        held = (await subject.read.aggregates())[KEY]
        assert held.latest == TIED[3]
        assert held.quantity(Aggregation.LATEST) == -4

    loop.run(scenario())


batches = st.lists(st.dictionaries(st.sampled_from(["a", "b"]), aggregates), max_size=4)


@pytest.mark.parametrize("kind", ["memory", "postgres"])
def test_any_batches_give_what_the_domain_merges(
    loop: Loop, request: pytest.FixtureRequest, kind: str
) -> None:
    pool = request.getfixturevalue("pool") if kind == "postgres" else None

    async def scenario(parts: list[dict[str, Aggregate]]) -> None:
        subject = in_memory() if pool is None else await in_postgres(pool)
        expected: dict[AggregateKey, Aggregate] = {}
        for part in parts:
            usage = {KEY._replace(reference=name): a for name, a in part.items()}
            for key, aggregate in usage.items():
                expected.setdefault(key, Aggregate()).merge(deepcopy(aggregate))
            await subject.apply(subject.flush(deepcopy(usage)))
        assert await subject.read.aggregates() == expected

    @settings(max_examples=25, deadline=None, print_blob=True)
    @given(batches)
    def check(parts: list[dict[str, Aggregate]]) -> None:
        loop.run(scenario(parts))

    check()


def test_a_month_is_the_merge_of_its_hours(loop: Loop, pool: asyncpg.Pool) -> None:
    """An invoice of a whole month is priced from month totals alone."""
    october, november = hour_of(AT.replace(month=10, day=31, hour=23)), hour_of(AT.replace(day=1))
    usage = {
        KEY._replace(hour=october): Aggregate(1, Decimal(5), Decimal(5), TIED[0]),
        KEY._replace(hour=november): Aggregate(2, Decimal("0.1"), Decimal(7), TIED[2]),
        KEY: Aggregate(4, Decimal("0.2"), Decimal(6), TIED[1]),
    }

    async def scenario() -> None:
        subject = await in_postgres(pool)
        for _ in range(2):
            await subject.apply(subject.flush(deepcopy(usage)))
        first = {name: hour_of(AT.replace(month=name, day=1, hour=0)) for name in (10, 11)}
        assert await PostgresReader(pool).table("usage_month") == {
            KEY._replace(hour=first[10]): Aggregate(2, Decimal(10), Decimal(5), TIED[0]),
            KEY._replace(hour=first[11]): Aggregate(12, Decimal("0.6"), Decimal(7), TIED[2]),
        }

    loop.run(scenario())


def test_usage_marks_the_reference_and_its_months_for_pricing(
    loop: Loop, pool: asyncpg.Pool
) -> None:
    usage = {KEY: Aggregate(1), KEY._replace(reference="d", hour=0): Aggregate(1)}

    async def scenario() -> None:
        subject = await in_postgres(pool)
        await subject.apply(subject.flush(usage))
        marks = await pool.fetch("SELECT reference, month FROM stale_mark ORDER BY reference")
        assert [(r[0], r[1].isoformat()) for r in marks] == [
            ("c", "2026-11-01"),
            ("d", "1970-01-01"),
        ]

    loop.run(scenario())
