"""Credit grants as they are listed: exact, filtered, page by page; and what the audit says."""

from collections.abc import Callable
from typing import Any

from services.runtime.json import decode_json
from tests.api.conftest import Api, Scenario
from tests.api.credits import JUNE, NOBODY, amount, asked
from tests.api.plan_invoices import charge, make_plan

Play = Callable[[Scenario], None]


def test_an_unused_grant_is_shown_as_it_was_made(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric(), await api.make_customer()
        plan = await make_plan(
            api,
            charge(metric, product_name="API"),
            charge(None, name="fee", charge_type="fixed", product_name="Fee"),
        )
        api_id, fee_id = (
            each["product_id"]
            for each in (await api.get(f"/v1/planDetails/{plan}/charges"))["data"]
        )
        euro = next(
            each["id"]
            for each in (await api.get("/v1/credit-types/list"))["data"]
            if each["name"] == "EUR"
        )
        body = asked(
            customer,
            grant_amount=amount("100.0000000000000000000000000001"),
            paid_amount=amount("9.99", euro),
            priority="0.5",
            effective_at="2026-11-24T14:00:00+02:00",
            product_ids=[fee_id, api_id],
            reason="welcome",
            credit_grant_type="trial",
            uniqueness_key="shown",
            custom_fields={"x": "y"},
        )
        grant = (await api.post("/v1/credits/createGrant", body))["data"]["id"]
        reply = await api.http.post("/v1/credits/listGrants", json={"credit_grant_ids": [grant]})
        [shown] = decode_json(reply.content)["data"]
        assert str(shown["grant_amount"]["amount"]) == "100.0000000000000000000000000001"
        assert str(shown["balance"]["excluding_pending"]) == "100.0000000000000000000000000001"
        # Without a plan there is no billing period: the balance is of now.
        assert shown["balance"]["effective_at"] == "2026-11-24T12:30:00Z"
        assert shown["products"] == [{"id": fee_id, "name": "Fee"}, {"id": api_id, "name": "API"}]
        [theirs] = [each async for each in api.sdk.v1.credit_grants.list(customer_ids=[customer])]
        assert (theirs.paid_amount.amount, theirs.paid_amount.credit_type.name) == (9.99, "EUR")
        assert (theirs.priority, theirs.reason, theirs.credit_grant_type) == (
            0.5, "welcome", "trial",
        )  # fmt: skip
        assert theirs.effective_at.isoformat() == "2026-11-24T12:00:00+00:00"
        assert (theirs.custom_fields, theirs.uniqueness_key) == ({"x": "y"}, "shown")
        assert (theirs.deductions, theirs.pending_deductions) == ([], [])
        # The hour that has begun, when nothing is said; USD, when no unit is.
        plain = asked(customer, grant_amount={"amount": 1}, paid_amount={"amount": 0})
        made = (await api.post("/v1/credits/createGrant", plain))["data"]["id"]
        [plain_shown] = [
            each async for each in api.sdk.v1.credit_grants.list(credit_grant_ids=[made])
        ]
        assert plain_shown.effective_at.isoformat() == "2026-11-24T12:00:00+00:00"
        assert plain_shown.grant_amount.credit_type.name == "USD (cents)"
        assert plain_shown.products is None

    play(scenario)


def test_grants_are_listed_page_by_page_and_filtered(play: Play) -> None:
    async def scenario(api: Api) -> None:
        grants = api.sdk.v1.credit_grants
        customer, other = await api.make_customer(), await api.make_customer()
        unit = (await api.sdk.v1.pricing_units.create(name="filtered")).data.id
        made = [
            (await grants.create(**asked(customer, **fields))).data.id
            for fields in (
                {"expires_at": "2027-01-01T00:00:00Z"},
                {"effective_at": "2026-12-01T00:00:00Z"},
                {"grant_amount": amount(5, unit)},
            )
        ]
        theirs = (await grants.create(**asked(other))).data.id
        listed = [each.id async for each in grants.list(customer_ids=[customer], limit=1)]
        assert listed == sorted(made)  # all of one instant
        assert len(listed) == 3

        async def ids(**filters: Any) -> set[str]:
            return {each.id async for each in grants.list(**filters)}

        assert {*made, theirs} <= await ids()
        assert await ids(customer_ids=[customer, other]) == {*made, theirs}
        assert await ids(customer_ids=[customer], not_expiring_before=JUNE) == set(made[1:])
        early = await ids(customer_ids=[customer], effective_before="2026-12-01T00:00:00Z")
        assert early == {made[0], made[2]}
        assert await ids(customer_ids=[customer], credit_type_ids=[unit]) == {made[2]}
        assert await ids(credit_grant_ids=[made[0], NOBODY]) == {made[0]}
        await grants.void(id=made[0])
        assert await ids(customer_ids=[customer]) == set(made[1:])

    play(scenario)


def test_each_change_is_a_version_in_the_audit(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer()
        version = await api.pool.fetchval("SELECT version FROM catalog_version")
        grant = (await api.post("/v1/credits/createGrant", asked(customer)))["data"]["id"]
        expiry = {"expires_at": "2027-01-01T00:00:00Z"}
        await api.post("/v1/credits/editGrant", {"id": grant, **expiry})
        await api.post("/v1/credits/voidGrant", {"id": grant})
        rows = await api.pool.fetch(
            "SELECT * FROM catalog_audit WHERE version > $1 ORDER BY version", version
        )
        assert [(row["action"], row["version"] - version) for row in rows] == [
            ("credit_grant.create", 1),
            ("credit_grant.edit", 2),
            ("credit_grant.void", 3),
        ]
        assert {(str(row["entity_id"]), row["actor"]) for row in rows} == {(grant, "tester")}
        edited = decode_json(rows[1]["detail"])
        assert edited["before"] == {"expires_at": JUNE}
        assert edited["after"] == expiry

    play(scenario)
