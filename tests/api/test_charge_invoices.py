"""Invoices of charges that are not metered, of trials and of customers with own prices, through the
API; the official client reads them strictly.
"""

from collections.abc import Callable
from decimal import Decimal

from services.domain.meter import Aggregation
from tests.api.conftest import Api, Scenario
from tests.api.plan_invoices import charge, invoices, make_plan, put_on, spans, use, utc

Play = Callable[[Scenario], None]


def test_fixed_composite_and_minimum_charges_of_a_plan_that_ends(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("fixed")
        await use(api, Aggregation.SUM, [("fixed", metric, (), utc(2026, 11, 3), "25")])
        plan = await make_plan(
            api,
            charge(metric, (0, 10), package_size=10),
            charge(None, (0, 100), name="seats", charge_type="fixed", quantity=3,
                   product_name="Seats"),
            charge(None, (0, "0.1"), name="support", charge_type="composite",
                   product_name="Support", base_product_names=["API", "Seats"]),
            charge(None, (0, 500), name="floor", charge_type="minimum", product_name="Floor",
                   base_charge_names=["calls"]),
            minimums=[{"name": "Monthly minimum", "value": 1_000}],
        )  # fmt: skip
        held = await put_on(api, customer, plan, "2026-11-01")
        [invoice] = await invoices(api, customer)
        lines = {line["name"]: line for line in invoice["line_items"]}
        assert {name: line["total"] for name, line in lines.items()} == {
            "API": 30,
            "Seats": 300,
            "Support": 33,
            "Floor": 470,
        }
        assert {name: line["product_type"] for name, line in lines.items()} == {
            "API": "UsageProductListItem",
            "Seats": "FixedProductListItem",
            "Support": "CompositeProductListItem",
            "Floor": "FixedProductListItem",
        }
        assert (invoice["subtotal"], invoice["total"]) == (833, 1_000)
        [adjustment] = invoice["invoice_adjustments"]
        assert (adjustment["name"], adjustment["total"]) == ("Monthly minimum", 167)
        end = {"ending_before": "2026-11-11T00:00:00Z"}
        await api.post(f"/v1/customers/{customer}/plans/{held}/end", end)
        [invoice] = await invoices(api, customer)
        assert spans([invoice]) == [("2026-11-01", "2026-11-11", 1_000)]
        [seats] = [line for line in invoice["line_items"] if line["name"] == "Seats"]
        assert (seats["quantity"], seats["total"], seats["is_prorated"]) == (1, 100, True)
        assert seats["unit_price"] == 100

    play(scenario)


async def euros_of(api: Api) -> str:
    """The id of the currency."""
    units = (await api.get("/v1/credit-types/list"))["data"]
    return next(str(each["id"]) for each in units if each["name"] == "EUR")


def test_a_fee_for_a_part_of_a_month_is_its_exact_share(play: Play) -> None:
    """EUR 99.99 for 25 of 30 days is 83.325 and so 83.33."""

    async def scenario(api: Api) -> None:
        customer = await api.make_customer("fee")
        fee = charge(None, (0, "99.99"), name="fee", charge_type="fixed", product_name="Fee")
        plan = await make_plan(api, fee, credit_type_id=await euros_of(api))
        await put_on(api, customer, plan, "2026-11-01", ending_before="2026-11-26T00:00:00Z")
        [invoice] = await invoices(api, customer)
        assert spans([invoice]) == [("2026-11-01", "2026-11-26", Decimal("83.33"))]
        [line] = invoice["line_items"]
        assert (line["is_prorated"], line["unit_price"]) == (True, Decimal("99.99"))
        assert (line["quantity"], line["total"], invoice["subtotal"]) == (
            Decimal("0.83333333333333333333"),
            Decimal("83.325"),
            Decimal("83.325"),
        )

    play(scenario)


def test_a_trial_is_free_up_to_its_cap_and_has_its_own_invoice(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("trial")
        await use(
            api,
            Aggregation.SUM,
            [("trial", metric, (), utc(2026, 11, day), "40") for day in (3, 4, 20)],
        )
        plan = await make_plan(
            api,
            charge(metric),
            charge(None, (0, 30), name="fee", charge_type="fixed", product_name="Fee"),
        )
        cap = {"amount": 50, "credit_type_id": "2714e483-4ff1-48e4-9e25-ac732e8f24f2"}
        trial = {"length_in_days": 14, "spending_cap": cap}
        await put_on(api, customer, plan, "2026-11-01", trial_spec=trial)
        first, second = await invoices(api, customer)
        assert spans([first, second]) == [
            ("2026-11-01", "2026-11-15", 30),
            ("2026-11-15", "2026-12-01", 56),
        ]
        assert [each["total"] for each in first["invoice_adjustments"]] == [-50]
        assert [line["name"] for line in first["line_items"]] == ["API"]
        [listed] = [i async for i in api.sdk.v1.customers.plans.list(customer_id=customer)]
        assert listed.trial_info is not None
        assert listed.trial_info.ending_before == utc(2026, 11, 15)
        [shown] = listed.trial_info.spending_caps
        assert (shown.amount, shown.amount_remaining) == (50, 0)
        assert shown.credit_type.name == "USD (cents)"

    play(scenario)


def test_own_prices_and_a_unit_of_ones_own_become_a_currency(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric("SUM")
        customer, other = await api.make_customer("own"), await api.make_customer("other")
        uses = [(name, metric, (), utc(2026, 11, 3), "100") for name in ("own", "other")]
        await use(api, Aggregation.SUM, uses)
        unit = (await api.sdk.v1.pricing_units.create(name="tokens")).data.id
        euros = await euros_of(api)
        rate = {"fiat_credit_type_id": euros, "to_fiat_conversion_factor": "0.25"}
        plan = await make_plan(
            api,
            charge(metric, (0, "1.5")),
            credit_type_id=unit,
            overage_rates=[rate],
            minimums=[{"name": "least", "value": 40, "credit_type_id": euros}],
        )
        charges = (await api.get(f"/v1/planDetails/{plan}/charges"))["data"]
        half = {
            "charge_id": charges[0]["id"],
            "adjustment_type": "percentage",
            "start_period": 0,
            "value": "-0.5",
        }
        own_rate = {
            "custom_credit_type_id": unit,
            "fiat_currency_credit_type_id": euros,
            "to_fiat_conversion_factor": "0.333",
        }
        await put_on(
            api,
            customer,
            plan,
            "2026-11-01",
            price_adjustments=[half],
            overage_rate_adjustments=[own_rate],
        )
        await put_on(api, other, plan, "2026-11-01")
        [mine] = await invoices(api, customer)
        [theirs] = await invoices(api, other)
        assert (mine["credit_type"]["name"], mine["total"]) == ("EUR", 40)
        assert mine["subtotal"] == Decimal("24.975")
        assert [each["total"] for each in mine["invoice_adjustments"]] == [Decimal("15.025")]
        usage, conversion = mine["line_items"]
        assert (usage["credit_type"]["name"], usage["total"]) == ("tokens", 75)
        assert (conversion["type"], conversion["quantity"], conversion["unit_price"]) == (
            "cpu_conversion",
            75,
            Decimal("0.333"),
        )
        assert (theirs["subtotal"], theirs["total"]) == (Decimal("37.5"), 40)
        skipped = await api.get(
            f"/v1/customers/{customer}/invoices", skip_zero_qty_line_items="true"
        )
        assert len(skipped["data"][0]["line_items"]) == 2

    play(scenario)
