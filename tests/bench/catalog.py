"""The catalog of a bench: metrics and plan over the API, customers in bulk by SQL, because
100,000 of them over the API take minutes. One is made over the API too: its rows must be the same.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg

from services.domain.period import draft_months
from tests.bench.database import connected
from tests.bench.stack import BenchError, Stack
from tests.integration.client import Tollgate

# Each in the order in which a catalog of few metrics has them.
_KINDS = ("SUM", "COUNT", "MAX", "LATEST", "UNIQUE")


@dataclass(frozen=True, slots=True)
class Catalog:
    """Customers `prefix0`, `prefix1`, ... on one plan over metrics of one event type."""

    plan_id: str
    prefix: str
    event_type: str
    customers: int
    checked: tuple[str, ...]  # its lines that show the sum and the count


async def make_catalog(
    stack: Stack, customers: int, *, metrics: int = 2, starting_on: datetime | None = None
) -> Catalog:
    """A grouped SUM and a COUNT, and more when asked for."""
    name = uuid4().hex[:6]
    api = Tollgate(stack.data_dir)
    event_type = f"t-{name}"
    charges = []
    for number in range(metrics):
        kind = _KINDS[number % len(_KINDS)]
        line = {0: "sum", 1: "count"}.get(number, f"{kind.lower()}-{number}")
        body: dict[str, object] = {
            "name": f"{name}-{line}",
            "aggregation_type": kind,
            "event_type_filter": {"in_values": [event_type]},
        }
        if kind != "COUNT":
            body["aggregation_key"] = "bytes"
            body["property_filters"] = [{"name": n, "exists": True} for n in ("bytes", "region")]
        if number == 0:
            body["group_keys"] = [["region"]]
        metric_id = api.post("/v1/billable-metrics/create", body)["id"]
        charges.append(
            {
                "name": line,
                "product_name": line,
                "billable_metric_id": metric_id,
                "prices": [{"tier": 0, "value": "0.01"}],
            }
        )
    plan_id = str(api.post("/v1/plans/create", {"name": name, "charges": charges})["id"])
    now = datetime.now(UTC)
    starts = starting_on or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    catalog = Catalog(plan_id, f"{name}-", event_type, customers, ("sum", "count")[:metrics])
    async with connected(stack.database_url) as connection:
        await _add_customers(connection, catalog, starts, now)
        await _compare(connection, api, catalog, starts)
        await _wait_opened(connection)
    return catalog


async def _add_customers(
    connection: asyncpg.Connection, catalog: Catalog, starts: datetime, now: datetime
) -> None:
    aliases = [f"{catalog.prefix}{number}" for number in range(catalog.customers)]
    ids = [uuid4() for _ in aliases]
    plan_ids = [uuid4() for _ in aliases]
    months = [month.date() for month in draft_months(starts, None, now)]
    async with connection.transaction():
        version = await connection.fetchval(
            "UPDATE catalog_version SET version = version + 1 RETURNING version"
        )
        await connection.execute(
            "INSERT INTO customer (id, name, custom_fields, created_at, updated_at)"
            " SELECT id, name, '{}', $3, $3 FROM unnest($1::uuid[], $2::text[]) AS t(id, name)",
            *(ids, aliases, now),
        )
        await connection.execute(
            "INSERT INTO customer_reference (reference, customer_id, alias_position)"
            " SELECT id::text, id, NULL FROM unnest($1::uuid[]) AS t(id)"
            " UNION ALL SELECT alias, id, 0 FROM unnest($1::uuid[], $2::text[]) AS t(id, alias)",
            *(ids, aliases),
        )
        await connection.execute(
            "INSERT INTO customer_plan (id, customer_id, plan_id, starting_on, created_at)"
            " SELECT id, customer_id, $3, $4, $5"
            " FROM unnest($1::uuid[], $2::uuid[]) AS t(id, customer_id)",
            *(plan_ids, ids, catalog.plan_id, starts, now),
        )
        await connection.execute(
            "INSERT INTO stale_draft (customer_id, month)"
            " SELECT id, month FROM unnest($1::uuid[]) AS t(id), unnest($2::date[]) AS m(month)",
            *(ids, months),
        )
        await connection.execute(
            "INSERT INTO catalog_audit (version, actor, action) VALUES ($1, 'bench', 'bench.load')",
            version,
        )
    await connection.execute("ANALYZE customer, customer_reference, customer_plan")


# What differs between any two customers.
_OWN = "ARRAY['id', 'ordinal', 'name', 'customer_id', 'created_at', 'updated_at', 'reference']"
_ROWS = f"""
SELECT to_jsonb(c) - {_OWN} || jsonb_build_object('plan', (
    SELECT jsonb_agg(to_jsonb(p) - {_OWN}) FROM customer_plan p WHERE p.customer_id = c.id
), 'references', (
    SELECT jsonb_agg(to_jsonb(r) - {_OWN} ORDER BY alias_position) FROM customer_reference r
    WHERE r.customer_id = c.id
)) FROM customer c WHERE c.name = $1
"""


async def _compare(
    connection: asyncpg.Connection, api: Tollgate, catalog: Catalog, starts: datetime
) -> None:
    """Raises BenchError unless the bulk rows are what the API makes."""
    name = f"{catalog.prefix}api"
    customer = api.post("/v1/customers", {"name": name, "ingest_aliases": [name]})["id"]
    start = starts.strftime("%Y-%m-%dT00:00:00Z")
    plan = {"plan_id": catalog.plan_id, "starting_on": start}
    api.post(f"/v1/customers/{customer}/plans/add", plan)
    made = await connection.fetchval(_ROWS, name)
    bulk = await connection.fetchval(_ROWS, f"{catalog.prefix}0")
    if made is None or made != bulk:
        raise BenchError(f"a customer in bulk is {bulk}, over the API {made}")


async def _wait_opened(connection: asyncpg.Connection) -> None:
    """Until every draft exists."""
    deadline = time.monotonic() + 300
    while await connection.fetchval("SELECT EXISTS (SELECT FROM stale_draft)"):
        if time.monotonic() > deadline:
            raise BenchError("the drafts of new customers are not made")
        await connection.execute("SELECT pg_sleep(0.05)")
