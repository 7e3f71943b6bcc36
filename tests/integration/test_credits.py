"""Credits on the whole stack, with no grace: a final invoice of last month takes its share, the
draft of this month what is left; a projector that is killed, a replay and a void invoice change
nothing that they should not.
"""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from services.domain.period import month_start
from tests.integration.client import Billed, Tollgate, command, event, wait_until
from tests.integration.test_invoice_life import (
    counted,
    final,
    invoices,
    last_month,
    put_on_last_month,
    use,
)
from tests.integration.verifying import verify


def grant(tollgate: Tollgate, billed: Billed, amount: int) -> str:
    """Of last month and this one; its id."""
    body = {
        "customer_id": billed.customer_id,
        "name": "gift",
        "priority": 1,
        "grant_amount": {"amount": amount},
        "paid_amount": {"amount": 0},
        "effective_at": month_start(last_month()).isoformat(),
        "expires_at": "2040-01-01T00:00:00Z",
    }
    return str(tollgate.post("/v1/credits/createGrant", body)["id"])


def paid(invoice: dict[str, Any]) -> list[Any]:
    """What credits pay for an invoice."""
    return [-each["total"] for each in invoice["invoice_adjustments"] if "credit_grant_id" in each]


def draft_pays(tollgate: Tollgate, billed: Billed, *amounts: int) -> None:
    """Wait until this month's draft says so."""
    wait_until(
        lambda: paid(tollgate.draft(billed)) == list(amounts),
        lambda: f"{paid(tollgate.draft(billed))}, not {amounts}",
    )


def test_a_grant_from_draft_to_final_and_back(strict: Tollgate, failpoints: Path) -> None:
    billed = strict.billed("1")
    made = grant(strict, billed, 100)
    assert strict.patient("POST", "/v1/ingest", [event(billed, "now", "80")]).status == 200
    draft_pays(strict, billed, 80)
    use(strict, billed, "a", "70")
    counted(strict, billed, 70)
    armed = failpoints / "projector.before_final_commit"
    armed.touch()
    put_on_last_month(strict, billed)
    wait_until(lambda: not armed.exists(), lambda: "the projector was not killed")
    invoice = final(strict, billed)
    assert (invoice["total"], paid(invoice)) == (0, [70])
    draft_pays(strict, billed, 30)

    done = command(strict, "replay", "start", "--all")
    assert done.returncode == 0, done.stderr
    generation = done.stdout.split()[1]
    shown = command(strict, "replay", "diff", generation).stdout
    assert "\n0 of " in shown, shown
    done = command(strict, "replay", "promote", generation)
    assert done.returncode == 0, done.stderr
    draft_pays(strict, billed, 30)
    status, verified = verify(strict, "--deep")
    assert status == 0, verified["deep"]

    strict.post("/v1/invoices/void", {"id": invoice["id"]})
    draft_pays(strict, billed, 80)
    strict.post("/v1/invoices/regenerate", {"id": invoice["id"]})
    again = final(strict, billed)
    assert (again["regenerated_from_invoice_id"], paid(again)) == (invoice["id"], [70])
    draft_pays(strict, billed, 30)
    strict.post("/v1/credits/voidGrant", {"id": made})
    draft_pays(strict, billed)
    assert paid(final(strict, billed)) == [70]
    assert [paid(each) for each in invoices(strict, billed, "VOID")] == [[70]]
    assert verify(strict, "--deep")[0] == 0


def test_verify_finds_credits_that_were_changed(strict: Tollgate) -> None:
    billed = strict.billed("1")
    grant(strict, billed, 100)
    assert strict.patient("POST", "/v1/ingest", [event(billed, "then", "80")]).status == 200
    draft_pays(strict, billed, 80)
    draft = strict.draft(billed)["id"]

    async def pay(amount: str) -> None:
        connection = await asyncpg.connect(strict.run["database_url"])
        try:
            await connection.execute(
                "UPDATE invoice SET document = jsonb_set(document,"
                " '{invoice_adjustments,0,total}', $2::text::jsonb) WHERE id = $1",
                draft,
                amount,
            )
        finally:
            await connection.close()

    asyncio.run(pay("-81"))
    status, verified = verify(strict, "--deep")
    assert status == 1
    found = [each["where"] for each in verified["deep"]["differences"]]
    assert any(draft in where and "adjustments[0].total" in where for where in found), found
    asyncio.run(pay("-80"))
    assert verify(strict, "--deep")[0] == 0
