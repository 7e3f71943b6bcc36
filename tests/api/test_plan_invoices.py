"""Golden invoices through the API: a plan is made, a customer put on it, usage counted, drafts
priced; the official client reads them strictly.
"""

from collections.abc import Callable

from services.domain.meter import Aggregation
from services.projector.drafts_postgres import PostgresDrafts
from tests.api.conftest import NOW, Api, Scenario
from tests.api.plan_invoices import charge, invoices, make_plan, put_on, spans, use, utc

Play = Callable[[Scenario], None]


def test_the_cpu_hours_example(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("cpu")
        await use(
            api,
            Aggregation.SUM,
            [("cpu", metric, (), utc(2026, 11, day), "496") for day in (1, 2, 24)],
        )
        plan = await make_plan(
            api, charge(metric, (0, 10), (1000, 9), name="CPU hours", product_name="Cloud database")
        )
        await put_on(api, customer, plan, "2026-11-01")
        [invoice] = await invoices(api, customer)
        assert (invoice["type"], invoice["total"], invoice["subtotal"]) == (
            "PLAN_ARREARS",
            14_392,
            14_392,
        )
        [line] = invoice["line_items"]
        assert (line["name"], line["total"]) == ("Cloud database", 14_392)
        [part] = line["sub_line_items"]
        assert (part["name"], part["quantity"]) == ("CPU hours", 1_488)
        assert part["tiers"] == [
            {"starting_at": 0, "quantity": 1_000, "price": 10, "subtotal": 10_000},
            {"starting_at": 1_000, "quantity": 488, "price": 9, "subtotal": 4_392},
        ]
        assert part["tier_period"] == {
            "starting_at": "2026-11-01T00:00:00Z",
            "ending_before": "2026-12-01T00:00:00Z",
        }
        assert invoice["invoice_adjustments"] == []

    play(scenario)


def test_the_latest_example_bills_increments_by_week(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("LATEST"), await api.make_customer("seats")
        days = (28, 4, 11, 18)
        uses = [
            ("seats", metric, (), utc(2026, 10 if day == 28 else 11, day, 5), value)
            for day, value in zip(days, ("7", "9", "10", "5"), strict=True)
        ]
        await use(api, Aggregation.LATEST, uses)
        plan = await make_plan(api, charge(metric), billing_frequency="WEEKLY")
        await put_on(api, customer, plan, "2026-10-26")
        listed = await invoices(api, customer)
        assert spans(listed) == [
            ("2026-10-26", "2026-11-02", 7),
            ("2026-11-02", "2026-11-09", 2),
            ("2026-11-09", "2026-11-16", 1),
            ("2026-11-16", "2026-11-23", -5),
            ("2026-11-23", "2026-11-30", 0),
        ]

    play(scenario)


def test_quarters_and_years_have_their_periods(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("long")
        days = [(2025, 12, 9), (2025, 12, 15), (2026, 3, 5), (2026, 9, 30), (2026, 11, 20)]
        uses = [("long", metric, (), utc(*day), f"{10**n}") for n, day in enumerate(days)]
        await use(api, Aggregation.SUM, uses)
        quarterly = await make_plan(api, charge(metric), billing_frequency="quarterly")
        await put_on(api, customer, quarterly, "2025-12-10")
        listed = await invoices(api, customer)
        assert spans(listed) == [
            ("2025-12-10", "2026-01-01", 10),
            ("2026-01-01", "2026-04-01", 100),
            ("2026-04-01", "2026-07-01", 0),
            ("2026-07-01", "2026-10-01", 1_000),
            ("2026-10-01", "2027-01-01", 10_000),
        ]
        other = await api.make_customer("longer")
        await api.post(f"/v1/customers/{other}/setIngestAliases", {"ingest_aliases": ["years"]})
        yearly = await make_plan(
            api, charge(metric), billing_frequency="ANNUAL", billing_cycle="ANNIVERSARY"
        )
        await use(api, Aggregation.SUM, [("years", *each[1:]) for each in uses])
        await put_on(api, other, yearly, "2025-12-10")
        assert spans(await invoices(api, other)) == [("2025-12-10", "2026-12-10", 11_110)]

    play(scenario)


def test_groups_have_lines_and_tiers_of_their_own(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric("SUM", group_keys=[["region", "zone"], ["region"]])
        customer = await api.make_customer("grouped")
        groups = [("eu", "a"), ("eu", "b"), ("us", "a"), (None, "a")]
        uses = [
            ("grouped", metric, group, utc(2026, 11, day), "60")
            for group in groups
            for day in (2, 3)
        ]
        await use(api, Aggregation.SUM, uses)
        plan = await make_plan(
            api,
            charge(metric, (0, 2), (100, 1), group_key=["region"]),
            charge(metric, name="both", product_name="both", group_key=["zone", "region"]),
            charge(metric, name="all", product_name="all"),
        )
        await put_on(api, customer, plan, "2026-11-01")
        [invoice] = await invoices(api, customer)
        lines = [
            (
                line["name"],
                line.get("group_key"),
                line.get("group_value"),
                line.get("presentation_group_values"),
                line["quantity"],
                line["total"],
            )
            for line in invoice["line_items"]
        ]
        pairs = [("a", None), ("a", "eu"), ("a", "us"), ("b", "eu")]
        assert lines == [
            ("API", "region", None, {"region": None}, 120, 220),
            ("API", "region", "eu", {"region": "eu"}, 240, 340),
            ("API", "region", "us", {"region": "us"}, 120, 220),
            *[
                ("both", None, None, {"zone": zone, "region": region}, 120, 120)
                for zone, region in pairs
            ],
            ("all", None, None, None, 480, 480),
        ]
        assert invoice["total"] == 220 + 340 + 220 + 480 + 480

    play(scenario)


def test_tiers_run_on_over_periods_and_late_usage_moves_the_later_ones(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("runs")
        uses = [
            ("runs", metric, (), utc(2026, 9, 9), "60"),
            ("runs", metric, (), utc(2026, 10, 9), "60"),
            ("runs", metric, (), utc(2026, 11, 9), "60"),
        ]
        await use(api, Aggregation.SUM, uses)
        plan = await make_plan(api, charge(metric, (0, 2), (100, 1), tier_reset_frequency=2))
        await put_on(api, customer, plan, "2026-09-01")
        listed = await invoices(api, customer)
        assert [each["total"] for each in listed] == [120, 100, 120]
        october = listed[1]["line_items"][0]["sub_line_items"][0]
        assert [tier["starting_at"] for tier in october["tiers"]] == [0, 100]
        assert october["tier_period"] == {
            "starting_at": "2026-09-01T00:00:00Z",
            "ending_before": "2026-11-01T00:00:00Z",
        }
        # Only September is marked, as by a late event.
        await use(api, Aggregation.SUM, [*uses, ("runs", metric, (), utc(2026, 9, 10), "40")])
        await api.pool.execute("DELETE FROM stale_draft WHERE month > '2026-09-01'")
        assert [each["total"] for each in await invoices(api, customer)] == [200, 60, 120]

    play(scenario)


def test_a_plan_that_ends_keeps_no_drafts_beyond(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("ends")
        await use(api, Aggregation.SUM, [("ends", metric, (), utc(2026, 11, 3), "25")])
        plan = await make_plan(api, charge(metric), billing_frequency="WEEKLY")
        held = await put_on(api, customer, plan, "2026-10-28")
        assert len(await invoices(api, customer)) == 5
        end = {"ending_before": "2026-11-04T00:00:00Z"}
        await api.post(f"/v1/customers/{customer}/plans/{held}/end", end)
        assert spans(await invoices(api, customer)) == [
            ("2026-10-28", "2026-11-02", 0),
            ("2026-11-02", "2026-11-04", 25),
        ]
        await api.post(f"/v1/customers/{customer}/plans/{held}/end", {})
        assert len(await invoices(api, customer)) == 5

    play(scenario)


def test_periods_that_begin_while_nothing_is_priced_are_opened_afterwards(play: Play) -> None:
    """A fixed fee is due whether the projector ran or not."""

    async def scenario(api: Api) -> None:
        customer = await api.make_customer()
        fee = charge(None, (0, 30), charge_type="fixed")
        weekly = await make_plan(api, fee, billing_frequency="WEEKLY")
        held = await put_on(api, customer, weekly, "2026-09-28")
        assert len(await invoices(api, customer, utc(2026, 10, 1))) == 1
        end = {"ending_before": "2026-11-18T00:00:00Z"}
        await api.post(f"/v1/customers/{customer}/plans/{held}/end", end)
        await api.settle()
        listed = await invoices(api, customer)
        assert len(listed) == 8
        assert spans(listed[-1:]) == [("2026-11-16", "2026-11-18", 9)]
        marks = await api.pool.fetchval("SELECT count(*) FROM stale_draft")
        await PostgresDrafts(api.pool).open_periods(NOW)
        assert await api.pool.fetchval("SELECT count(*) FROM stale_draft") == marks

    play(scenario)
