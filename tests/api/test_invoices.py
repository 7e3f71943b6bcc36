"""Invoices as the projector writes them and callers read them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from metronome import NotFoundError

from services.domain.money import USD_CENTS
from services.domain.period import Period
from services.domain.plan import Charge, Plan, Tier
from services.domain.pricing.invoice import price_invoice
from services.domain.schedule import BilledPeriod
from services.projector.drafts_postgres import PostgresDrafts
from services.projector.pricer import Pricer
from services.runtime.invoice_document import render
from services.runtime.json import decode_json
from tests.api.conftest import NOW, Api, Scenario

Play = Callable[[Scenario], None]
NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
WHOLE = BilledPeriod(NOVEMBER, NOVEMBER, 0)
METRIC, OTHER, PRODUCT, STORAGE = (uuid4() for _ in range(4))


def _charge(name: str, product: UUID, metric: UUID, *prices: tuple[str, str]) -> Charge:
    tiers = tuple(Tier(Decimal(start), Decimal(price)) for start, price in prices)
    product_name = "API" if product == PRODUCT else "Storage"
    return Charge(uuid4(), name, product, product_name, metric, tiers)


def _document(plan: Plan, **quantities: str) -> bytes:
    metered = {
        {"calls": METRIC, "bytes": OTHER}[name]: Decimal(value)
        for name, value in quantities.items()
    }
    return render(plan, price_invoice(plan, metered), WHOLE)


def test_a_line_is_a_product_and_tiers_are_exact() -> None:
    plan = Plan(
        uuid4(),
        "p",
        USD_CENTS,
        (
            _charge("calls", PRODUCT, METRIC, ("0", "10"), ("1000", "9")),
            _charge("bytes", STORAGE, OTHER, ("0", "0.1000000000000000000000000001")),
        ),
    )
    content = _document(plan, calls="1488", bytes="3")
    document = decode_json(content)
    tiered, flat = document["line_items"]
    assert (tiered["name"], tiered["quantity"], tiered["total"]) == ("API", 1488, 14392)
    assert "unit_price" not in tiered
    assert tiered["sub_line_items"][0]["tiers"] == [
        {"starting_at": 0, "quantity": 1000, "price": 10, "subtotal": 10000},
        {"starting_at": 1000, "quantity": 488, "price": 9, "subtotal": 4392},
    ]
    assert "price" not in tiered["sub_line_items"][0]
    assert flat["unit_price"] == Decimal("0.1000000000000000000000000001")
    assert flat["sub_line_items"][0]["price"] == flat["unit_price"]
    assert b'"total":0.3000000000000000000000000003' in content
    assert document["subtotal"] == Decimal("14392.3000000000000000000000000003")
    assert document["total"] == 14392
    assert flat["starting_at"] == "2026-11-01T00:00:00Z"


def test_a_product_of_several_charges_has_quantity_one() -> None:
    plan = Plan(
        uuid4(),
        "p",
        USD_CENTS,
        (
            _charge("calls", PRODUCT, METRIC, ("0", "1")),
            _charge("bytes", PRODUCT, OTHER, ("0", "2")),
        ),
    )
    (line,) = decode_json(_document(plan, calls="5"))["line_items"]
    assert (line["quantity"], line["total"]) == (1, 5)
    calls, unused = line["sub_line_items"]
    assert (calls["quantity"], calls["price"]) == (5, 1)
    assert (unused["quantity"], unused["subtotal"]) == (0, 0)
    assert "price" not in unused
    assert unused["tiers"] == [{"starting_at": 0, "quantity": 0, "price": 2, "subtotal": 0}]


async def _put_on_plan(api: Api, *starts: str) -> tuple[str, str, list[str]]:
    metric, customer = await api.make_metric(), await api.make_customer()
    plan = await api.make_plan(metric, ("0", "0.1000000000000000000000000001"))
    ids = []
    for start in starts:
        body = {"plan_id": plan, "starting_on": start, "net_payment_terms_days": 14}
        reply = await api.post(f"/v1/customers/{customer}/plans/add", body)
        ids.append(reply["data"]["id"])
    return metric, customer, ids


def test_a_draft_is_there_right_after_the_plan_is_added(play: Play) -> None:
    async def scenario(api: Api) -> None:
        pricing = asyncio.create_task(Pricer(PostgresDrafts(api.pool), lambda: NOW).run())
        _, customer, _ = await _put_on_plan(api, "2026-10-10T00:00:00Z")
        invoices = [i async for i in api.sdk.v1.customers.invoices.list(customer_id=customer)]
        assert [(i.status, i.type, i.total) for i in invoices] == [("DRAFT", "PLAN_ARREARS", 0)] * 2
        first, second = invoices
        assert first.start_timestamp == datetime(2026, 10, 10, tzinfo=UTC)
        assert first.end_timestamp == second.start_timestamp == NOVEMBER.start
        assert (second.plan_name, second.net_payment_terms_days) == ("basic", 14)
        assert second.line_items[0].name == "API"
        assert second.line_items[0].sub_line_items is not None
        read = (
            await api.sdk.v1.customers.invoices.retrieve(customer_id=customer, invoice_id=second.id)
        ).data
        assert read == second
        with pytest.raises(NotFoundError):
            await api.sdk.v1.customers.invoices.retrieve(
                customer_id=await api.make_customer(), invoice_id=second.id
            )
        skipped = await api.get(
            f"/v1/customers/{customer}/invoices", skip_zero_qty_line_items="true"
        )
        assert [invoice["line_items"] for invoice in skipped["data"]] == [[], []]
        pricing.cancel()

    play(scenario)


def test_a_read_waits_for_marks_of_references_too_but_not_for_ever(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer("waits")
        path = f"/v1/customers/{customer}/invoices"
        loop = asyncio.get_running_loop()
        await api.pool.execute(
            "INSERT INTO stale_draft (posted, month) VALUES ('{waits}', '2026-11-01')"
        )
        reading = asyncio.create_task(api.get(path))
        await asyncio.sleep(0.3)
        assert not reading.done()
        await api.settle()
        assert (await reading)["data"] == []
        await api.pool.execute(
            "INSERT INTO stale_draft (customer_id, month) VALUES ($1, '2026-11-01')", customer
        )
        began = loop.time()
        await api.get(path)
        assert 0.3 < loop.time() - began < 5
        await api.settle()

    play(scenario)


def test_invoices_are_filtered_sorted_and_paged(play: Play) -> None:
    async def scenario(api: Api) -> None:
        _, customer, (customer_plan,) = await _put_on_plan(api, "2026-07-01T00:00:00Z")
        await api.settle()
        plan_id = await api.pool.fetchval(
            "SELECT plan_id FROM customer_plan WHERE id = $1", customer_plan
        )
        for month, status in ((7, "VOID"), (7, "FINALIZED"), (8, "FINALIZED"), (9, "DRAFT")):
            await api.pool.execute(
                "INSERT INTO invoice (id, customer_id, customer_plan_id, plan_id, credit_type_id,"
                " status, starts_at, ends_at, document, catalog_version, as_of, priced_at)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $7, $7)",
                uuid4(),
                customer,
                customer_plan,
                plan_id,
                USD_CENTS.id,
                status,
                datetime(2026, month, 1, tzinfo=UTC),
                datetime(2026, month + 1, 1, tzinfo=UTC),
                '{"line_items": [], "subtotal": 123456789012345678901234567890.5, "total": 7,'
                ' "invoice_adjustments": []}',
            )
        listing = api.sdk.v1.customers.invoices.list
        ascending = [i async for i in listing(customer_id=customer, limit=1)]
        assert [i.start_timestamp.month for i in ascending if i.start_timestamp] == [7, 7, 8, 9]
        descending = [i async for i in listing(customer_id=customer, limit=3, sort="date_desc")]
        assert [i.id for i in descending] == [i.id for i in reversed(ascending)]
        path = f"/v1/customers/{customer}/invoices"
        for query, count in (
            ({"status": "finalized"}, 2),
            ({"status": "VOID"}, 1),
            ({"starting_on": "2026-08-01T00:00:00Z"}, 2),
            ({"ending_before": "2026-09-01T00:00:00.000Z"}, 3),
            ({"type": "USAGE"}, 4),
            ({"type": "SCHEDULED"}, 0),
            ({"contract_id": str(uuid4())}, 0),
            ({"credit_type_id": str(USD_CENTS.id)}, 4),
        ):
            reply = await api.get(path, **query)  # type: ignore[arg-type]  # as users write
            assert len(reply["data"]) == count, query
        raw = await api.http.get(path)
        assert '"subtotal":123456789012345678901234567890.5' in raw.text
        for bad in (
            {"status": "PAID"},
            {"sort": "up"},
            {"starting_on": "x"},
            {"next_page": "Wzcs"},
        ):
            await api.get(path, 400, **bad)
        # What was finalized stays within its plan.
        end = {"ending_before": "2026-08-15T00:00:00Z"}
        await api.post(f"/v1/customers/{customer}/plans/{customer_plan}/end", end, 400)

    play(scenario)
