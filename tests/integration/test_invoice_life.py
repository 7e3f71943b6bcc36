"""The life of an invoice on the whole stack, with no grace: the month before this one is final as
soon as it has an invoice. The projector is killed while it finalizes.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from metronome import Metronome

from services.domain.period import month_start
from tests.integration.client import Billed, Tollgate, command, event, wait_until
from tests.integration.verifying import verify


def last_month() -> datetime:
    """Its last hour; events of it are taken on any day of this one."""
    return month_start(datetime.now(UTC)) - timedelta(hours=1)


def use(tollgate: Tollgate, billed: Billed, name: str, amount: str) -> None:
    """One event of last month."""
    late = event(billed, f"{billed.alias}-{name}", amount, timestamp=last_month().isoformat())
    assert tollgate.patient("POST", "/v1/ingest", [late]).status == 200


def counted(tollgate: Tollgate, billed: Billed, amount: int) -> None:
    """Wait until usage queries show so much."""
    body = {
        "starting_on": month_start(last_month()).isoformat(),
        "ending_before": month_start(datetime.now(UTC)).isoformat(),
        "window_size": "none",
        "customer_ids": [billed.customer_id],
        "billable_metrics": [{"id": billed.metric_id}],
    }

    def shown() -> Any:
        windows = tollgate.patient("POST", "/v1/usage", body).body["data"]
        return [window["value"] for window in windows]

    wait_until(lambda: shown() == [amount], lambda: f"{shown()}, not {amount}")


def put_on_last_month(tollgate: Tollgate, billed: Billed) -> None:
    """The customer's plan, for last month too."""
    path = f"/v1/customers/{billed.customer_id}/plans"
    [plan] = tollgate.patient("GET", path).body["data"]
    month = month_start(last_month())
    body = {
        "plan_id": plan["plan_id"],
        "starting_on": month.isoformat(),
        "ending_before": plan["starting_on"],
    }
    tollgate.post(f"{path}/add", body)


def invoices(tollgate: Tollgate, billed: Billed, status: str) -> list[dict[str, Any]]:
    """The customer's, of last month."""
    path = f"/v1/customers/{billed.customer_id}/invoices?status={status}"
    found = tollgate.patient("GET", path).body["data"]
    end = month_start(datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [dict(each) for each in found if each["end_timestamp"] == end]


def final(tollgate: Tollgate, billed: Billed) -> dict[str, Any]:
    """The one of last month, once it is final."""
    wait_until(
        lambda: len(invoices(tollgate, billed, "FINALIZED")) == 1,
        lambda: f"not final: {invoices(tollgate, billed, 'DRAFT')}",
    )
    [invoice] = invoices(tollgate, billed, "FINALIZED")
    return invoice


@pytest.mark.parametrize("point", ["before_final_commit", "after_final_commit"])
def test_a_kill_while_it_becomes_final_changes_nothing(
    strict: Tollgate, failpoints: Path, point: str
) -> None:
    billed = strict.billed("1")
    use(strict, billed, "a", "5")
    counted(strict, billed, 5)
    armed = failpoints / f"projector.{point}"
    armed.touch()
    put_on_last_month(strict, billed)
    # Gone: the projector has killed itself there.
    wait_until(lambda: not armed.exists(), lambda: f"{point} was not reached")
    invoice = final(strict, billed)
    assert invoice["total"] == 5
    use(strict, billed, "b", "1")
    counted(strict, billed, 6)
    after = final(strict, billed)
    assert after.pop("late_usage", {"total": 6})["total"] == 6
    assert after == invoice


def test_late_replayed_void_and_made_again(strict: Tollgate) -> None:
    billed = strict.billed("1")
    use(strict, billed, "a", "5")
    counted(strict, billed, 5)
    put_on_last_month(strict, billed)
    invoice = final(strict, billed)
    use(strict, billed, "b", "37")
    counted(strict, billed, 42)
    path = f"/v1/tollgate/invoices/{invoice['id']}/late-usage"
    wait_until(
        lambda: strict.call("GET", path).body["data"]["total"]["late"] == 37,
        lambda: f"{strict.call('GET', path).body}",
    )

    done = command(strict, "replay", "start", "--all")
    assert done.returncode == 0, done.stderr
    generation = done.stdout.split()[1]
    shown = command(strict, "replay", "diff", generation).stdout
    assert f"FINALIZED (never changed by a promotion; regenerating would) {invoice['id']}" in shown
    assert "total 5 -> 42 USD (cents)" in shown
    done = command(strict, "replay", "promote", generation)
    assert done.returncode == 0, done.stderr
    after = final(strict, billed)
    assert after.pop("late_usage")["total"] == 42
    assert after == invoice
    status, verified = verify(strict, "--deep")
    assert status == 0, verified["deep"]
    assert verified["deep"]["finalized"] >= 1

    client = Metronome(bearer_token=strict.run["token"], base_url=strict.run["api_url"])
    client.v1.invoices.void(id=invoice["id"])
    assert [each["id"] for each in invoices(strict, billed, "VOID")] == [invoice["id"]]
    made = client.v1.invoices.regenerate(id=invoice["id"]).data
    assert made is not None
    again = final(strict, billed)
    assert (again["id"], again["total"]) == (made.id, 42)
    assert again["regenerated_from_invoice_id"] == invoice["id"]
    assert verify(strict, "--deep")[0] == 0


def test_verify_finds_a_final_invoice_that_was_changed(strict: Tollgate) -> None:
    billed = strict.billed("1")
    use(strict, billed, "a", "5")
    counted(strict, billed, 5)
    put_on_last_month(strict, billed)
    invoice = final(strict, billed)
    change(strict, invoice["id"], "7")
    status, verified = verify(strict, "--deep")
    assert status == 1
    found = [each["where"] for each in verified["deep"]["differences"]]
    assert any(invoice["id"] in where and "document" in where for where in found), found
    change(strict, invoice["id"], "5")
    assert verify(strict, "--deep")[0] == 0


def change(tollgate: Tollgate, invoice_id: str, total: str) -> None:
    """Past the safeguard of the database, as only its owner can."""

    async def go() -> None:
        connection = await asyncpg.connect(tollgate.run["database_url"])
        try:
            async with connection.transaction():
                await connection.execute("ALTER TABLE invoice DISABLE TRIGGER invoice_is_final")
                await connection.execute(
                    "UPDATE invoice SET document = jsonb_set(document, '{total}', $2::text::jsonb)"
                    " WHERE id = $1",
                    invoice_id,
                    total,
                )
                await connection.execute("ALTER TABLE invoice ENABLE TRIGGER invoice_is_final")
        finally:
            await connection.close()

    asyncio.run(go())
