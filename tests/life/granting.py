"""What the tests of credits do: grant, edit, void; and look at what invoices take, with the oracle
beside it.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID, uuid4

from services.api.stale import mark_credits
from services.domain.aggregate import hour_of
from services.domain.pricing.ledger import InvoiceDeduction
from services.domain.reference.usage import Amount, Usage, UsageKey
from services.ops.verify_catalog import read_billing
from services.ops.verify_differences import Difference, Differences
from services.ops.verify_drafts import compare_drafts
from services.runtime.credit_rows import read_deductions
from tests.life.world import DECEMBER, NOVEMBER, Used, World

DAY = timedelta(days=1)
FOREVER = datetime(2030, 1, 1, tzinfo=DECEMBER.tzinfo)
GRANTING: dict[str, Any] = {
    "name": "allowance",
    "amount_granted": 50,
    "amount_granted_credit_type_id": "2714e483-4ff1-48e4-9e25-ac732e8f24f2",
    "amount_paid": 9,
    "amount_paid_credit_type_id": "2714e483-4ff1-48e4-9e25-ac732e8f24f2",
    "effective_duration": 1,
    "priority": 1,
    "reason": "every month",
}
_GRANT = """
INSERT INTO credit_grant (id, customer_id, name, credit_type_id, amount, paid_amount,
    paid_credit_type_id, priority, effective_at, expires_at, created_at, created_by)
SELECT $1, $2, $3, id, $4, 0, id, $5, $6, $7, $6, 'tester' FROM credit_type
WHERE name = 'USD (cents)'
"""


async def grant(
    world: World,
    customer: str,
    amount: int,
    name: str = "gift",
    *,
    effective_at: datetime = NOVEMBER,
    expires_at: datetime = FOREVER,
    priority: int = 1,
) -> UUID:
    """A grant, made as the API makes them."""
    grant_id = uuid4()
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            _GRANT, grant_id, UUID(customer), name, amount, priority, effective_at, expires_at
        )
        span = effective_at, expires_at
        await mark_credits(connection, UUID(customer), [span], world.now)
    return grant_id


async def change_grant(world: World, customer: str, grant_id: UUID, assignments: str) -> None:
    """As the API edits and voids them."""
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            f"UPDATE credit_grant SET {assignments} WHERE id = $1",
            grant_id,
        )
        await mark_credits(connection, UUID(customer), [(NOVEMBER, FOREVER)], world.now)


def paid(invoice: dict[str, Any]) -> dict[str, int]:
    """By name of a grant, what it pays for an invoice."""
    return {
        each["name"]: -each["total"]
        for each in invoice["invoice_adjustments"]
        if "credit_grant_id" in each
    }


async def taken(world: World, customer: str) -> list[InvoiceDeduction]:
    """By all invoices."""
    async with world.pool.acquire() as connection:
        return (await read_deductions(connection, [UUID(customer)])).get(UUID(customer), [])


async def another_plan(world: World, customer: str, start: datetime = NOVEMBER, **plan: Any) -> str:
    """The customer's, of a plan like the world's."""
    made = await world.api.make_plan(str(world.metric), **plan)
    body = {"plan_id": made, "starting_on": start.isoformat()}
    reply = await world.api.post(f"/v1/customers/{customer}/plans/add", body)
    await world.price()
    return str(reply["data"]["id"])


async def differences(world: World, counted: list[Used]) -> list[Difference]:
    """Between the oracle's invoices and those there are, of customers that nothing waits for."""
    usage: Usage = {}
    for each in counted:
        key = UsageKey(each.reference, world.metric, each.group, hour_of(each.at))
        amount = usage.setdefault(key, Amount())
        amount.count += 1
        amount.total += Fraction(each.amount)
    found = Differences()
    async with (
        world.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        billing = await read_billing(connection)
        await compare_drafts(connection, usage, billing, world.now, found)
    return found.first


async def overspent(world: World) -> list[UUID]:
    """Grants of which final invoices use more than they gave."""
    rows = await world.pool.fetch("SELECT id, amount, customer_id FROM credit_grant")
    async with world.pool.acquire() as connection:
        every = await read_deductions(connection, {row["customer_id"] for row in rows})
    used: dict[UUID, Decimal] = {}
    for each in (each for of_customer in every.values() for each in of_customer):
        if not each.pending:
            used[each.grant_id] = used.get(each.grant_id, Decimal(0)) + each.amount
    return [row["id"] for row in rows if used.get(row["id"], 0) > row["amount"]]
