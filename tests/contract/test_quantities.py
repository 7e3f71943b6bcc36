"""Metered values of drafts from PostgreSQL: every aggregation, over every reference of a customer,
for whole months and for parts of one.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.domain.aggregate import Aggregate, AggregateKey, Latest, hour_of
from services.domain.meter import Aggregation
from services.domain.money import USD_CENTS
from services.domain.period import Period
from services.domain.plan import Plan
from services.domain.pricing.usage import PeriodUsage
from services.domain.schedule import BilledPeriod
from services.projector.drafts import StaleDraft
from services.projector.quantities_postgres import read_quantities
from tests.contract.conftest import Loop
from tests.contract.projections import in_postgres

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
METRICS = {kind: UUID(int=900 + number) for number, kind in enumerate(Aggregation)}
PLAN = Plan(UUID(int=1), "p", USD_CENTS, ())
# (reference, instant, number): October, early and late in November, December.
EVENTS = [
    ("named", START - timedelta(days=3), "5"),
    ("alias", START - timedelta(hours=1), "7"),
    ("named", START, "1.5"),
    ("alias", START + timedelta(days=9, minutes=59), "100.25"),
    ("alias", START + timedelta(days=10), "20"),
    ("named", START + timedelta(days=10), "20"),
    ("named", END - timedelta(seconds=1), "12"),
    ("named", END, "3"),
]


def one_event(kind: Aggregation, number: Latest) -> Aggregate:
    """What an event adds under an aggregation."""
    match kind:
        case Aggregation.SUM:
            return Aggregate(1, total=number.value)
        case Aggregation.MAX:
            return Aggregate(1, peak=number.value)
        case Aggregation.LATEST:
            return Aggregate(1, latest=number)
        case Aggregation.UNIQUE:
            return Aggregate(1, distinct={str(number.value)})
        case _:
            return Aggregate(1)


def usage() -> dict[AggregateKey, Aggregate]:
    """Every event under every aggregation, in one of two groups."""
    counted: dict[AggregateKey, Aggregate] = {}
    for offset, (reference, at, text) in enumerate(EVENTS):
        for kind, metric in METRICS.items():
            key = AggregateKey(reference, metric, (str(offset % 2),), hour_of(at))
            aggregate = counted.setdefault(key, Aggregate())
            aggregate.merge(one_event(kind, Latest(at, 0, offset, Decimal(text))))
    return counted


async def customer_of(pool: asyncpg.Pool) -> UUID:
    """A customer with two references, and another one with none of the usage."""
    await pool.execute("DELETE FROM billable_metric WHERE id = ANY($1)", list(METRICS.values()))
    for kind, metric in METRICS.items():
        await pool.execute(
            "INSERT INTO billable_metric (id, name, aggregation_type, created_version)"
            " VALUES ($1, $2, $2, 1)",
            metric,
            kind.value,
        )
    customer: UUID = uuid4()
    await pool.execute("DELETE FROM customer_reference WHERE reference IN ('named', 'alias')")
    await pool.execute("INSERT INTO customer (id, name) VALUES ($1, 'c')", customer)
    await pool.execute(
        "INSERT INTO customer_reference (reference, customer_id) VALUES ('named', $1),"
        " ('alias', $1)",
        customer,
    )
    return customer


TENTH = START + timedelta(days=10)


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        # LATEST: 12 less the last of October, 7.
        (Period(START, END), ["5", "153.75", "100.25", "5", "4"]),
        (Period(START, TENTH), ["2", "101.75", "100.25", "93.25", "2"]),
        (Period(TENTH, END), ["3", "52", "20", "-88.25", "2"]),
        (Period(datetime(2026, 10, 1, tzinfo=UTC), START), ["2", "12", "7", "7", "2"]),
    ],
)
def test_every_aggregation_over_a_period(
    loop: Loop, pool: asyncpg.Pool, period: Period, expected: list[str]
) -> None:
    async def scenario() -> None:
        subject = await in_postgres(pool)
        customer = await customer_of(pool)
        await subject.apply(subject.flush(usage()))
        wanted: list[StaleDraft] = [
            StaleDraft(uuid4(), uuid4(), PLAN, BilledPeriod(period, period, 0)),
            StaleDraft(uuid4(), customer, PLAN, BilledPeriod(period, period, 0)),
        ]
        async with pool.acquire() as connection:
            quantities = await read_quantities(connection, wanted, 0)
        names = ("COUNT", "SUM", "MAX", "LATEST", "UNIQUE")
        assert quantities == {
            wanted[0].invoice_id: PeriodUsage({}),
            wanted[1].invoice_id: PeriodUsage(
                {
                    METRICS[Aggregation(name)]: Decimal(value)
                    for name, value in zip(names, expected, strict=True)
                }
            ),
        }

    loop.run(scenario())
