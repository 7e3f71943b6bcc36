"""The plans of what the projector reads at every flush and every pricing pass: probes of indexes
only, whatever the statistics say. A plan that reads a whole table once a draft made PostgreSQL the
slowest part of all while its statistics were still to come.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.domain.aggregate import Aggregate, AggregateKey, hour_of
from services.projector import (
    credits_postgres,
    distinct_postgres,
    drafts_postgres,
    finals_postgres,
    groups_postgres,
    openings_postgres,
    projection_postgres,
    quantities_postgres,
)
from services.projector.projection_postgres import PostgresProjection
from services.runtime import credit_rows
from tests.contract.conftest import Loop
from tests.contract.projections import TABLES, PostgresReader, Subject

MONTH = datetime(2026, 11, 1, tzinfo=UTC)
BYTES = UUID(int=71)
CUSTOMERS = 3_000
# Drafts of a pass, with two references, two series and one draft each: a probe may look at a few.
TOUCHED = 200
ROWS_MAX = TOUCHED * 8
GROWING = {
    "customer",
    "customer_reference",
    "customer_plan",
    "usage_series",
    "usage_hour",
    "usage_month",
    "usage_distinct",
    "usage_distinct_month",
    "invoice",
    "credit_grant",
}
DISTINCT = (
    distinct_postgres.MONTH_COUNTS,
    distinct_postgres.MONTH_VALUES,
    distinct_postgres.HOUR_VALUES,
)
Query = tuple[str, tuple[object, ...]]


async def fill(pool: asyncpg.Pool) -> None:
    """Customers on one plan, each with usage in two groups and a draft."""
    plan = uuid4()
    await pool.execute(
        "INSERT INTO plan (id, name, billing_frequency, credit_type_id)"
        " SELECT $1, 'p', 'MONTHLY', id FROM credit_type LIMIT 1",
        plan,
    )
    await pool.execute(
        "INSERT INTO customer (id, name) SELECT gen_random_uuid(), 'plans-' || n"
        " FROM generate_series(1, $1::int) AS n",
        CUSTOMERS,
    )
    await pool.execute(
        "INSERT INTO customer_reference (reference, customer_id, alias_position)"
        " SELECT name, id, 0 FROM customer UNION ALL SELECT id::text, id, NULL FROM customer"
    )
    await pool.execute(
        "INSERT INTO customer_plan (id, customer_id, plan_id, starting_on)"
        " SELECT gen_random_uuid(), id, $1, $2 FROM customer",
        plan,
        MONTH,
    )
    await pool.execute(
        "INSERT INTO invoice (id, customer_id, customer_plan_id, plan_id, credit_type_id, status,"
        " starts_at, ends_at, document, catalog_version, as_of, priced_at)"
        " SELECT gen_random_uuid(), c.customer_id, c.id, p.id, p.credit_type_id, 'DRAFT', $1, $2,"
        " jsonb_build_object('text', repeat('a lot ', 200), 'invoice_adjustments', '[]'::jsonb),"
        " 1, $1, $1"
        " FROM customer_plan c JOIN plan p ON p.id = c.plan_id",
        MONTH,
        MONTH + timedelta(days=30),
    )
    await pool.execute(
        "INSERT INTO credit_grant (id, customer_id, name, credit_type_id, amount, paid_amount,"
        " paid_credit_type_id, priority, effective_at, expires_at, created_at, created_by)"
        " SELECT gen_random_uuid(), c.id, 'g', t.id, 1, 0, t.id, 1, $1, $2, $1, 'tester'"
        " FROM customer c CROSS JOIN (SELECT id FROM credit_type LIMIT 1) t",
        MONTH,
        MONTH + timedelta(days=30),
    )
    usage = {
        AggregateKey(f"plans-{number}", BYTES, (region,), hour_of(MONTH)): Aggregate(
            1, distinct={"a"}
        )
        for number in range(1, CUSTOMERS + 1)
        for region in ("eu", "us")
    }
    subject = Subject(PostgresProjection(pool), PostgresReader(pool))
    await subject.apply(subject.flush(usage))


async def queries(connection: asyncpg.Connection) -> list[Query]:
    """What a flush and a pass read for TOUCHED customers."""
    rows = await connection.fetch(
        "SELECT u.id, u.name, c.id AS plan_id, i.id AS invoice_id FROM customer u"
        " JOIN customer_plan c ON c.customer_id = u.id JOIN invoice i ON i.customer_id = u.id"
        " LIMIT $1",
        TOUCHED,
    )
    names, nobody = [row["name"] for row in rows], [None] * TOUCHED
    months = [MONTH] * TOUCHED
    ends = [MONTH + timedelta(days=30)] * TOUCHED
    customers, invoices = [row["id"] for row in rows], [row["invoice_id"] for row in rows]
    grants = await connection.fetch(
        "SELECT id FROM credit_grant WHERE customer_id = ANY($1)", customers
    )
    later = customers, [row["id"] for row in grants], months, invoices, invoices
    wanted = [row["id"] for row in rows], months, [MONTH + timedelta(days=30)] * TOUCHED, 0
    of_series = {"series": quantities_postgres._SERIES}
    totals = quantities_postgres._TOTALS
    of_parts = {"parts": groups_postgres._PARTS}
    grouped = groups_postgres._TOTALS
    series = await connection.fetch(
        "SELECT s.id FROM usage_series s WHERE s.reference = ANY($1::text[])", names
    )
    parts = [row["id"] for row in series], *([at] * len(series) for at in (MONTH, wanted[2][0]))
    buckets = list(range(len(series)))
    return [
        (credits_postgres._CREDITED, (customers,)),
        (credits_postgres._LOCK_GRANTS, (customers, MONTH, ends[0])),
        (credits_postgres._MARK_LATER, later),
        (credit_rows._DEDUCTIONS, (customers,)),
        (finals_postgres._BEFORE, (invoices,)),
        (groups_postgres._SERIES, (wanted[0], [BYTES] * TOUCHED, 0)),
        (grouped.format(table="usage_month", **of_parts), (*parts, buckets)),
        (grouped.format(table="usage_hour", **of_parts), (*parts, buckets)),
        *((query, (*parts, buckets)) for query in DISTINCT),
        (groups_postgres._LATEST, (*parts, buckets)),
        (projection_postgres._SERIES, (names, [BYTES] * TOUCHED, ['["eu"]'] * TOUCHED, 0)),
        (drafts_postgres._PLANS_OF, (nobody, names, [MONTH.date()] * TOUCHED)),
        (openings_postgres._LIVE, ([row["plan_id"] for row in rows], months)),
        (openings_postgres._LOCK, (sorted(row["invoice_id"] for row in rows),)),
        (totals.format(table="usage_month", **of_series), wanted),
        (totals.format(table="usage_hour", **of_series), wanted),
        (quantities_postgres._UNIQUE, (wanted[0], [BYTES] * TOUCHED, 0)),
        (quantities_postgres._LATEST, wanted),
        (finals_postgres._NEXT_END, (None, MONTH + timedelta(days=99))),
        (finals_postgres._DUE, (MONTH + timedelta(days=30), rows[0]["invoice_id"], TOUCHED)),
    ]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def faults(plan: dict[str, Any]) -> list[str]:
    """Nodes of growing tables that look at more than what was asked for."""
    found = []
    for node in nodes(plan):
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
        looked_at = (node["Actual Rows"] + removed) * node["Actual Loops"]
        table = node.get("Relation Name")
        if (table in GROWING and node["Node Type"] == "Seq Scan") or looked_at > ROWS_MAX:
            found.append(f"{node['Node Type']} of {table}: {looked_at} rows")
    return found


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("analyzed", ["never", "while empty", "when full"])
def test_only_what_is_asked_for_is_looked_at(
    loop: Loop, pool: asyncpg.Pool, analyzed: str, plans: str
) -> None:
    async def scenario() -> None:
        await pool.execute(f"TRUNCATE {TABLES}, customer, invoice, customer_plan, plan CASCADE")
        if analyzed == "while empty":
            await pool.execute("VACUUM ANALYZE")
        await fill(pool)
        if analyzed == "when full":
            await pool.execute("ANALYZE")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL plan_cache_mode = {plans}")
            for query, arguments in await queries(connection):
                explained = json.loads(
                    await connection.fetchval(
                        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}", *arguments
                    )
                )
                plan = explained[0]["Plan"]
                assert faults(plan) == [], query

    loop.run(scenario())
