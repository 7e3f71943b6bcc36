"""Replay as an operator runs it, on the whole stack, with traffic before, meanwhile and after."""

import asyncio
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from services.runtime.json import decode_json
from tests.integration.client import Billed, Tollgate, command, event


def replay(tollgate: Tollgate, *words: str, status: int = 0) -> str:
    """One `tollgate replay` command; its standard output."""
    done = command(tollgate, "replay", *words)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def started(tollgate: Tollgate, *words: str) -> str:
    """The number of a new generation, counted."""
    return replay(tollgate, "start", "--all", *words).split()[1]


def compared(tollgate: Tollgate, generation: str) -> dict[str, Any]:
    """What `replay diff --json` says; its status is that of `diff`."""
    done = command(tollgate, "replay", "diff", generation, "--json")
    found: dict[str, Any] = decode_json(done.stdout)
    assert done.returncode == (1 if found["differences"] else 0), done.stderr
    return found


def of_customer(billed: Billed, comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """Its invoices that differ; other tests leave differences of their own."""
    return [d for d in comparison["differences"] if d["customer_id"] == billed.customer_id]


def post(tollgate: Tollgate, billed: Billed, *amounts: str, tag: str) -> None:
    """One event an amount."""
    events = [
        event(billed, f"{billed.alias}-{tag}-{n}", amount) for n, amount in enumerate(amounts)
    ]
    assert tollgate.patient("POST", "/v1/ingest", events).status == 200


@pytest.mark.parametrize("source", ["unique", "raw"])
def test_a_replay_is_the_same_count_and_can_take_over(tollgate: Tollgate, source: str) -> None:
    billed = tollgate.billed()
    for _ in range(2):  # the second time, duplicates
        post(tollgate, billed, "1", "2", "4", tag="a")
    conflict = event(billed, f"{billed.alias}-a-0", "1000")
    assert tollgate.call("POST", "/v1/ingest", [conflict]).status == 200
    draft = tollgate.settled(billed, 7)
    generation = started(tollgate, "--from", source)
    comparison = compared(tollgate, generation)
    assert of_customer(billed, comparison) == []
    assert comparison["fates"]["live"] == comparison["fates"]["replayed"]
    assert comparison["fates"]["live"]["conflicts"] >= 1
    post(tollgate, billed, "8", tag="b")  # counted live only, so far
    assert "live" in replay(tollgate, "promote", generation)
    assert tollgate.settled(billed, 15)["id"] == draft["id"]
    post(tollgate, billed, "16", "1", tag="c")  # counted into the promoted one only
    tollgate.settled(billed, 32)
    replay(tollgate, "rollback")
    assert tollgate.settled(billed, 32)["id"] == draft["id"]
    post(tollgate, billed, "32", tag="d")
    tollgate.settled(billed, 64)
    assert of_customer(billed, compared(tollgate, generation)) == []
    replay(tollgate, "drop", generation)
    assert "DROPPED" in replay(tollgate, "status")


def test_the_same_log_gives_identical_invoices_every_time(tollgate: Tollgate) -> None:
    billed = tollgate.billed(price="0.3333333333333333333333333333")
    post(tollgate, billed, "0.1", "2", "3.0", tag="a")
    tollgate.settled(billed, Decimal("5.1"))
    first, second = started(tollgate), started(tollgate, "--from", "raw")
    texts = rows(
        tollgate,
        "SELECT DISTINCT generation, md5(string_agg(document::text, ',' ORDER BY customer_plan_id,"
        " starts_at)) FROM generation_draft WHERE generation = ANY($1) GROUP BY 1",
        [int(first), int(second)],
    )
    assert len(texts) == 2
    assert texts[0][1] == texts[1][1]
    for generation in (first, second):
        replay(tollgate, "drop", generation)


def test_a_metric_made_too_late_is_filled_in(tollgate: Tollgate) -> None:
    billed = tollgate.billed()
    post(tollgate, billed, "1", "2", tag="a")
    tollgate.settled(billed, 3)
    late = tollgate.metric(billed.event_type)
    charge = {
        "name": "again",
        "product_name": "again",
        "billable_metric_id": late,
        "prices": [{"tier": 0, "value": "10"}],
    }
    plan = tollgate.post("/v1/plans/create", {"name": "late", "charges": [charge]})["id"]
    month = tollgate.draft(billed)["start_timestamp"]
    body = {"plan_id": plan, "starting_on": month}
    tollgate.post(f"/v1/customers/{billed.customer_id}/plans/add", body)
    post(tollgate, billed, "4", tag="b")
    tollgate.settled_line(billed, "again", 4)
    generation = started(tollgate)
    comparison = compared(tollgate, generation)
    [difference] = of_customer(billed, comparison)
    assert difference["total"] == {"live": 40, "replayed": 70}
    [line] = difference["lines"]
    assert (line["product"], line["charge"]) == ("again", "again")
    assert line["quantity"] == {"live": 4, "replayed": 7}
    assert line["subtotal"] == {"live": 40, "replayed": 70}
    text = replay(tollgate, "diff", generation, status=1)
    assert "again / again: quantity 4 -> 7, subtotal 40 -> 70" in text
    replay(tollgate, "promote", generation)
    tollgate.settled_line(billed, "again", 7)
    replay(tollgate, "rollback")
    tollgate.settled_line(billed, "again", 4)
    replay(tollgate, "drop", generation)


def test_a_finalized_invoice_never_changes(tollgate: Tollgate) -> None:
    billed = tollgate.billed()
    post(tollgate, billed, "5", tag="a")
    invoice = tollgate.settled(billed, 5)
    rows(
        tollgate,
        "UPDATE invoice SET status = 'FINALIZED', document = jsonb_set(document, '{total}', '1')"
        " WHERE id = $1",
        invoice["id"],
    )
    generation = started(tollgate)
    [difference] = of_customer(billed, compared(tollgate, generation))
    assert difference["status"] == "FINALIZED"
    assert difference["total"] == {"live": 1, "replayed": 0}
    replay(tollgate, "promote", generation)
    [(status, total)] = rows(
        tollgate, "SELECT status, document ->> 'total' FROM invoice WHERE id = $1", invoice["id"]
    )
    assert (status, total) == ("FINALIZED", "1")
    # It stays in the comparison when its customer is archived.
    tollgate.post("/v1/customers/archive", {"id": billed.customer_id})
    replay(tollgate, "rollback")
    [difference] = of_customer(billed, compared(tollgate, generation))
    assert difference["total"] == {"live": 1, "replayed": 0}
    # For the tests that come after this one.
    rows(tollgate, "UPDATE invoice SET status = 'VOID' WHERE id = $1", invoice["id"])
    replay(tollgate, "drop", generation)


def test_what_cannot_be_done_is_said(tollgate: Tollgate) -> None:
    done = command(tollgate, "replay", "diff", "4711")
    assert done.returncode == 2
    assert "there is no generation 4711" in done.stderr
    live = next(
        row["id"]
        for row in decode_json(replay(tollgate, "status", "--json"))["generations"]
        if row["state"] == "LIVE"
    )
    done = command(tollgate, "replay", "drop", str(live))
    assert done.returncode == 2
    assert "is live and cannot be dropped" in done.stderr
    assert command(tollgate, "replay", "promote", str(live)).returncode == 2


def rows(tollgate: Tollgate, query: str, *arguments: object) -> list[Any]:
    """What PostgreSQL answers."""

    async def fetch() -> list[Any]:
        connection = await asyncpg.connect(tollgate.run["database_url"])
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    return asyncio.run(fetch())
