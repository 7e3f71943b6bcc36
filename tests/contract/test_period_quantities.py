"""What PostgreSQL says was used in billing periods of every frequency, whole and by group, with the
periods before them: compared with the oracle, which adds up every hour.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.domain.aggregate import Aggregate, AggregateKey, Latest, hour_of
from services.domain.meter import Aggregation, BillableMetric
from services.domain.money import USD_CENTS
from services.domain.period import Period, month_start
from services.domain.plan import Charge, Plan, Tier
from services.domain.pricing.book import CreditBook
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.terms import PlanTerms
from services.domain.pricing.usage import GroupKey, GroupValues, PeriodUsage
from services.domain.reference.bill import Bounds, Held, groups_of, held_by, quantity_of
from services.domain.reference.usage import Amount, Last, Usage, UsageKey
from services.domain.schedule import BillingCycle, BillingFrequency, Schedule
from services.projector.credits_postgres import with_usage
from services.projector.drafts import StaleDraft, draft_of
from services.projector.quantities_postgres import read_quantities
from services.runtime.customer_terms import CustomerTerms
from tests.contract.conftest import Loop
from tests.contract.projections import in_postgres
from tests.contract.test_quantities import one_event
from tests.domain.plan_parts import grant

BEGINS = datetime(2025, 9, 17, tzinfo=UTC)
DAYS = 430
HOUR = timedelta(hours=1)
METRICS = {
    kind: BillableMetric(
        UUID(int=700 + number), kind.value, kind, "n", group_keys=(("zone", "region"),)
    )
    for number, kind in enumerate(Aggregation)
}
KEYS: tuple[GroupKey, ...] = ((), ("region",), ("zone", "region"))
REFERENCES = ("period-id", "period-alias")


def plan_of(frequency: BillingFrequency, cycle: BillingCycle, reset: int) -> Plan:
    """A charge of every aggregation by every key."""
    pairs = [(metric, key) for metric in METRICS.values() for key in KEYS]
    charges = (
        Charge(
            UUID(int=number),
            str(number),
            UUID(int=1),
            "p",
            metric.id,
            (Tier(Decimal(0), Decimal(1)),),
            group_key=key,
            tier_reset_frequency=reset,
        )
        for number, (metric, key) in enumerate(pairs)
    )
    return Plan(uuid4(), "p", USD_CENTS, tuple(charges), frequency, cycle)


class Counted(NamedTuple):
    """The same usage for the projection and for the oracle."""

    mine: dict[AggregateKey, Aggregate]
    theirs: Usage


def usage_of(random: Random) -> Counted:
    """Events at hours that are often the first and the last of a day, of a month."""
    counted = Counted({}, {})
    for offset in range(400):
        day = BEGINS + timedelta(days=random.randint(-20, DAYS))
        if random.random() < 0.3:
            day = month_start(day) - timedelta(hours=random.choice((0, 1)))
        at = day + timedelta(hours=random.choice((0, 0, 11)), minutes=offset % 60)
        group = (random.choice((None, "eu", "us")), random.choice(("a", "")))
        value = Decimal(random.choice(("1", "-2.5", "7", "1e-20")))
        reference = random.choice(REFERENCES)
        for metric in METRICS.values():
            key = AggregateKey(reference, metric.id, group, hour_of(at))
            latest = Latest(at, 0, offset, value)
            counted.mine.setdefault(key, Aggregate()).merge(one_event(metric.aggregation, latest))
    for key, held in counted.mine.items():
        counted.theirs[UsageKey(*key)] = Amount(
            held.count,
            Fraction(held.total),
            None if held.peak is None else Fraction(held.peak),
            None if held.latest is None else Last(*held.latest[:3], Fraction(held.latest[3])),
            set(held.distinct),
        )
    return counted


def by_the_oracle(held: Held, period: Period) -> tuple[object, object]:
    """Quantities, and groups, that are not nothing."""
    bounds = Bounds(period.start, period.end)
    quantities = {
        metric.id: quantity_of(held, REFERENCES, (metric.id, metric.aggregation), bounds)
        for metric in METRICS.values()
    }
    groups = {
        (metric.id, key): found
        for metric in METRICS.values()
        for key in KEYS
        if key and (found := groups_of(held, REFERENCES, metric, key, bounds))
    }
    return {key: value for key, value in quantities.items() if value}, groups


def found_in(usage: PeriodUsage) -> tuple[object, object]:
    """The same of what was read."""

    def fractions(values: Mapping[GroupValues, Decimal]) -> dict[GroupValues, Fraction]:
        return {group: Fraction(value) for group, value in values.items()}

    quantities = {key: Fraction(value) for key, value in usage.quantities.items() if value}
    return quantities, {key: fractions(values) for key, values in usage.groups.items()}


async def customer_of(pool: asyncpg.Pool) -> UUID:
    """A customer with both references."""
    customer: UUID = uuid4()
    await pool.execute("INSERT INTO customer (id, name) VALUES ($1, 'c')", customer)
    await pool.execute("DELETE FROM customer_reference WHERE reference = ANY($1)", REFERENCES)
    await pool.executemany(
        "INSERT INTO customer_reference (reference, customer_id) VALUES ($1, $2)",
        [(reference, customer) for reference in REFERENCES],
    )
    for metric in METRICS.values():
        await pool.execute(
            "INSERT INTO billable_metric (id, name, aggregation_type, created_version, group_keys)"
            ' VALUES ($1, $2, $2, 1, \'[["zone", "region"]]\') ON CONFLICT DO NOTHING',
            metric.id,
            metric.aggregation.value,
        )
    return customer


def drafts_of(customer: UUID, plan: Plan, trial_days: int) -> list[StaleDraft]:
    """Every period of the plan."""
    schedule = Schedule(
        plan.billing_frequency,
        plan.billing_cycle,
        BEGINS,
        BEGINS + timedelta(days=DAYS),
        trial_days,
    )
    terms = CustomerTerms(
        uuid4(), customer, plan, PlanTerms(plan), schedule, None, carries_on=False
    )
    return [
        draft_of(uuid4(), terms, billed)
        for billed in schedule.periods(BEGINS, BEGINS + timedelta(days=DAYS))
    ]


@pytest.mark.parametrize("cycle", BillingCycle)
@pytest.mark.parametrize("frequency", BillingFrequency)
def test_periods_of_every_frequency_and_group(
    loop: Loop, pool: asyncpg.Pool, frequency: BillingFrequency, cycle: BillingCycle
) -> None:
    async def scenario() -> None:
        counted = usage_of(Random(f"{frequency} {cycle}"))
        subject = await in_postgres(pool)
        await subject.apply(subject.flush(counted.mine))
        drafts = drafts_of(await customer_of(pool), plan_of(frequency, cycle, 3), 5)
        async with pool.acquire() as connection:
            usage = await read_quantities(connection, drafts, 0)
        held = held_by(counted.theirs)
        assert any(draft.earlier for draft in drafts)
        for draft in drafts:
            own = usage[draft.invoice_id]
            assert found_in(own) == by_the_oracle(held, draft.period)
            assert [found_in(each) for each in own.earlier] == [
                by_the_oracle(held, period) for period in draft.earlier
            ]

    loop.run(scenario())


@pytest.mark.parametrize("frequency", BillingFrequency)
def test_what_was_used_until_credits_begin_or_expire(
    loop: Loop, pool: asyncpg.Pool, frequency: BillingFrequency
) -> None:
    """At any hours, those before a period and beyond it left out."""

    async def scenario() -> None:
        random = Random(frequency)
        counted = usage_of(random)
        subject = await in_postgres(pool)
        await subject.apply(subject.flush(counted.mine))
        customer = await customer_of(pool)
        drafts = drafts_of(customer, plan_of(frequency, BillingCycle.CALENDAR, 3), 5)
        hours = sorted(random.sample(range(-300, DAYS * 24), 24))
        instants = [BEGINS + hour * HOUR for hour in hours]
        book = CreditBook({customer: list(grants_of(instants))}, {})
        async with pool.acquire() as connection:
            usage = await read_quantities(connection, drafts, 0)
            found = await with_usage(connection, drafts, book, usage, 0)
        held = held_by(counted.theirs)
        assert found.used_until
        for draft in drafts:
            cuts = [at for at in instants if draft.period.start < at < draft.period.end]
            until = found.used_until.get(draft.invoice_id, ())
            assert [at for at, _ in until] == cuts
            for at, used in until:
                assert found_in(used) == by_the_oracle(held, Period(draft.period.start, at))
                assert used.earlier == usage[draft.invoice_id].earlier

    loop.run(scenario())


def grants_of(instants: Sequence[datetime]) -> Iterator[CreditGrant]:
    """From each second of some instants to the one after it."""
    for number, begins in enumerate(instants[::2]):
        ends = instants[2 * number + 1]
        if begins < ends:
            yield grant("1", number, effective_at=begins, expires_at=ends)


def test_a_year_is_read_from_its_months(loop: Loop, pool: asyncpg.Pool) -> None:
    """Hours inside whole months are not even looked at."""

    async def scenario() -> None:
        subject = await in_postgres(pool)
        await subject.apply(subject.flush(usage_of(Random("year")).mine))
        plan = plan_of(BillingFrequency.ANNUAL, BillingCycle.ANNIVERSARY, 1)
        drafts = drafts_of(await customer_of(pool), plan, 0)
        async with pool.acquire() as connection:
            before = await read_quantities(connection, drafts, 0)
            await connection.execute(
                "DELETE FROM usage_hour WHERE starts_at >= '2025-10-01Z'"
                " AND starts_at < '2026-09-01Z'"
            )
            after = await read_quantities(connection, drafts, 0)
        for kind in (Aggregation.COUNT, Aggregation.SUM, Aggregation.MAX):
            metric = METRICS[kind].id
            first = drafts[0].invoice_id
            assert after[first].quantities[metric] == before[first].quantities[metric]
            for key in KEYS[1:]:
                assert after[first].groups[metric, key] == before[first].groups[metric, key]

    loop.run(scenario())
