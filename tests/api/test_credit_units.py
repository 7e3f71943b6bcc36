"""Which charges a credit grant pays for: those priced in its own unit, before conversion; of its
products, in its order.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from services.domain.meter import Aggregation
from tests.api.conftest import Api, Scenario
from tests.api.credits import USD, amount, asked
from tests.api.plan_invoices import charge, invoices, make_plan, put_on, use, utc

Play = Callable[[Scenario], None]
SINCE = {"effective_at": "2026-11-01T00:00:00Z"}


async def grant(api: Api, customer: str, **fields: object) -> str:
    """A grant from the 1st of November on."""
    body = asked(customer, **{**SINCE, **fields})
    return (await api.sdk.v1.credit_grants.create(**body)).data.id


def taken(invoice: dict[str, Any]) -> list[tuple[str, Any, str]]:
    return [
        (each["credit_grant_id"], each["total"], each["credit_type"]["name"])
        for each in invoice["invoice_adjustments"]
    ]


def test_credits_in_a_custom_unit_pay_before_it_becomes_a_currency(play: Play) -> None:
    """100 calls are 100 tokens, of which 30 are granted; a token costs 2 cents. Cents pay nothing:
    no charge is priced in them."""

    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("tokens")
        unit = (await api.sdk.v1.pricing_units.create(name="tokens")).data.id
        rate = {"fiat_credit_type_id": USD, "to_fiat_conversion_factor": 2}
        plan = await make_plan(api, charge(metric), credit_type_id=unit, overage_rates=[rate])
        await put_on(api, customer, plan, "2026-11-01")
        await use(api, Aggregation.SUM, [("tokens", metric, (), utc(2026, 11, 3), "100")])
        cents = await grant(api, customer, name="cents", grant_amount=amount(1_000))
        tokens = await grant(api, customer, name="tokens", grant_amount=amount("30.5", unit))
        [draft] = await invoices(api, customer)
        assert taken(draft) == [(tokens, Decimal("-30.5"), "tokens")]
        conversion = draft["line_items"][-1]
        assert (conversion["type"], conversion["quantity"]) == ("cpu_conversion", Decimal("69.5"))
        assert (draft["credit_type"]["name"], draft["total"]) == ("USD (cents)", 139)

        listed = {
            each.id: each async for each in api.sdk.v1.credit_grants.list(customer_ids=[customer])
        }
        assert listed[tokens].balance.including_pending == 0
        assert listed[cents].balance.including_pending == 1_000
        [found] = [
            each async for each in api.sdk.v1.credit_grants.list_entries(customer_ids=[customer])
        ]
        assert [
            (each.credit_type.name, each.ending_balance.including_pending) for each in found.ledgers
        ] == [("USD (cents)", 1_000), ("tokens", 0)]
        [only] = [
            each
            async for each in api.sdk.v1.credit_grants.list_entries(
                customer_ids=[customer], credit_type_ids=[unit]
            )
        ]
        assert [each.credit_type.name for each in only.ledgers] == ["tokens"]

    play(scenario)


def test_credits_in_the_currency_of_a_plan_pay_for_it(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("cents")
        unit = (await api.sdk.v1.pricing_units.create(name="points")).data.id
        plan = await make_plan(api, charge(metric))
        await put_on(api, customer, plan, "2026-11-01")
        await use(api, Aggregation.SUM, [("cents", metric, (), utc(2026, 11, 3), "100")])
        await grant(api, customer, grant_amount=amount(50, unit))
        cents = await grant(api, customer, grant_amount=amount(40))
        [draft] = await invoices(api, customer)
        assert (taken(draft), draft["total"]) == ([(cents, -40, "USD (cents)")], 60)

    play(scenario)


def test_credits_of_products_pay_for_those_only_and_from_their_hour_on(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer("goods")
        one, two = await api.make_metric("SUM"), await api.make_metric("SUM")
        plan = await make_plan(
            api,
            charge(one, product_name="One"),
            charge(two, name="more", product_name="Two"),
        )
        charges = (await api.get(f"/v1/planDetails/{plan}/charges"))["data"]
        product = {each["product_name"]: each["product_id"] for each in charges}
        await put_on(api, customer, plan, "2026-11-01")
        early, late = utc(2026, 11, 3, 9), utc(2026, 11, 3, 10)
        await use(
            api,
            Aggregation.SUM,
            [
                ("goods", one, (), early, "100"),
                ("goods", two, (), early, "10"),
                ("goods", two, (), late, "7"),
            ],
        )
        made = await grant(
            api,
            customer,
            grant_amount=amount(500),
            product_ids=[product["Two"]],
            effective_at=late.isoformat(),
        )
        [draft] = await invoices(api, customer)
        assert (taken(draft), draft["total"]) == ([(made, -7, "USD (cents)")], 110)
        # An hour earlier, and for both, it pays for everything.
        await api.sdk.v1.credit_grants.void(id=made)
        every = await grant(api, customer, grant_amount=amount(105))
        [draft] = await invoices(api, customer)
        assert (taken(draft), draft["total"]) == ([(every, -105, "USD (cents)")], 12)

    play(scenario)
