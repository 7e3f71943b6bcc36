"""What credit grants are refused for: each rule with its field, nothing taken and ignored."""

from collections.abc import Callable

import pytest
from metronome import ConflictError, NotFoundError

from services.api.credit_grants import GRANTS_MAX
from tests.api.conftest import Api, Scenario
from tests.api.credits import JUNE, NOBODY, USD, amount, asked

Play = Callable[[Scenario], None]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": ""}, "name", "at least 1"),
        ({"name": None}, "name", "string"),
        ({"priority": "high"}, "priority", "number"),
        ({"grant_amount": amount(0)}, "grant_amount.amount", "greater than 0, not 0"),
        ({"grant_amount": amount(-1)}, "grant_amount.amount", "greater than 0"),
        ({"grant_amount": {}}, "grant_amount.amount", "is missing"),
        ({"grant_amount": amount(1, NOBODY)}, "grant_amount.credit_type_id", "credit-types/list"),
        ({"paid_amount": amount("-0.5")}, "paid_amount.amount", "0 or more, not -0.5"),
        ({"paid_amount": amount(1, NOBODY)}, "paid_amount.credit_type_id", "credit-types/list"),
        ({"expires_at": "2026-11-24T12:00:00Z"}, "expires_at", "later than effective_at"),
        ({"expires_at": "2027-01-01T00:30:00Z"}, "expires_at", "kept by the hour"),
        ({"effective_at": "2026-11-01T00:00:00.001Z"}, "effective_at", "kept by the hour"),
        ({"effective_at": "2026-11-01T00:00:00+05:30"}, "effective_at", "kept by the hour"),
        ({"effective_at": "2026-11-01T00:00:00"}, "effective_at", "with a zone"),
        ({"effective_at": "0001-01-01T00:00:00Z"}, "effective_at", "from 1970-01-01 on"),
        ({"effective_at": JUNE}, "expires_at", "later than effective_at, 2027-06-01"),
        ({"product_ids": [NOBODY]}, "product_ids[0]", "no plan has a product"),
        ({"product_ids": [USD, USD]}, "product_ids[1]", "named twice"),
        ({"product_ids": ["x"]}, "product_ids[0]", "UUID"),
        ({"uniqueness_key": ""}, "uniqueness_key", "at least 1"),
        ({"uniqueness_key": "k" * 129}, "uniqueness_key", "at most 128"),
        ({"custom_fields": {"a": 1}}, "custom_fields.a", "string"),
        ({"invoice_date": "2026-12-01T00:00:00Z"}, "invoice_date", "makes no invoice"),
        (
            {"rollover_settings": {"expires_at": JUNE, "priority": 1, "rollover_amount": {}}},
            "rollover_settings",
            "not supported",
        ),
        # What is empty is asked for as well.
        ({"rollover_settings": {}}, "rollover_settings", "not supported"),
        ({"rollover_settings": []}, "rollover_settings", "not supported"),
        ({"rollover_settings": False}, "rollover_settings", "not supported"),
        ({"invoice_date": False}, "invoice_date", "makes no invoice"),
        ({"invoice_date": ""}, "invoice_date", "makes no invoice"),
        ({"grant_amount": {"amount": None}}, "grant_amount.amount", "missing"),
        ({"grant_amount": {"amount": True}}, "grant_amount.amount", "must be a number, not true"),
        ({"grant_amount": {"amount": "1e400"}}, "grant_amount.amount", "at most 38 digits"),
        ({"priority": []}, "priority", "must be a number, not an array"),
        ({"colour": "red"}, "colour", "not a field"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_with_the_field(
    play: Play, fields: dict[str, object], field: str, words: str
) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer()
        reply = await api.post("/v1/credits/createGrant", asked(customer, **fields), 400)
        assert [each["field"] for each in reply["errors"]] == [field]
        assert words in reply["errors"][0]["reason"]
        everything = await api.post("/v1/credits/listGrants", {"customer_ids": [customer]})
        assert everything["data"] == []

    play(scenario)


def test_every_fault_is_named_at_once(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer()
        body = asked(
            customer,
            grant_amount=amount(1, NOBODY),
            paid_amount=amount(1, NOBODY),
            product_ids=[NOBODY, USD],
        )
        reply = await api.post("/v1/credits/createGrant", body, 400)
        assert [each["field"] for each in reply["errors"]] == [
            "grant_amount.credit_type_id",
            "paid_amount.credit_type_id",
            "product_ids[0]",
            "product_ids[1]",
        ]

    play(scenario)


def test_a_uniqueness_key_makes_one_grant_until_it_is_released(play: Play) -> None:
    async def scenario(api: Api) -> None:
        grants = api.sdk.v1.credit_grants
        customer, other = await api.make_customer(), await api.make_customer()
        first = (await grants.create(**asked(customer, uniqueness_key="once"))).data.id
        for again in (customer, other):
            with pytest.raises(ConflictError, match="already been used"):
                await grants.create(**asked(again, uniqueness_key="once"))
        await grants.void(id=first)
        with pytest.raises(ConflictError):
            await grants.create(**asked(customer, uniqueness_key="once"))
        await grants.void(id=first, release_uniqueness_key=True)
        second = (await grants.create(**asked(customer, uniqueness_key="once"))).data.id
        [shown] = [each async for each in grants.list(customer_ids=[customer])]
        assert (shown.id, shown.uniqueness_key) == (second, "once")
        # Grants without a key never clash.
        await grants.create(**asked(customer))
        await grants.create(**asked(customer))

    play(scenario)


def test_what_is_not_there_is_404_and_what_is_over_409(play: Play) -> None:
    async def scenario(api: Api) -> None:
        grants = api.sdk.v1.credit_grants
        for calling in (
            grants.create(**asked(NOBODY)),
            grants.edit(id=NOBODY, name="n"),
            grants.void(id=NOBODY),
            grants.list_entries(customer_ids=[NOBODY]),
        ):
            with pytest.raises(NotFoundError):
                await calling
        customer = await api.make_customer()
        voided = (await grants.create(**asked(customer))).data.id
        await grants.void(id=voided)
        await grants.void(id=voided)
        with pytest.raises(ConflictError, match="is void"):
            await grants.edit(id=voided, name="n")
        kept = (await grants.create(**asked(customer))).data.id
        await api.post("/v1/customers/archive", {"id": customer})
        for late in (
            grants.create(**asked(customer)),
            grants.edit(id=kept, name="n"),
            grants.void(id=kept),
        ):
            with pytest.raises(ConflictError, match="is archived"):
                await late

    play(scenario)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("editGrant", {}, "id"),
        ("editGrant", {"name": ""}, "name"),
        ("editGrant", {"expires_at": "2026-12-01T10:00:01Z"}, "expires_at"),
        ("editGrant", {"expires_at": "2026-11-24T12:00:00Z"}, "expires_at"),
        ("editGrant", {"priority": 2}, "priority"),
        ("voidGrant", {"void_credit_purchase_invoice": True}, "void_credit_purchase_invoice"),
        ("voidGrant", {"void_credit_purchase_invoice": {}}, "void_credit_purchase_invoice"),
        ("voidGrant", {"void_credit_purchase_invoice": 0}, "void_credit_purchase_invoice"),
        ("voidGrant", {"release_uniqueness_key": "yes"}, "release_uniqueness_key"),
        ("listGrants", {"credit_grant_ids": [], "customer_ids": []}, "customer_ids"),
        ("listGrants", {"credit_grant_ids": [], "credit_type_ids": []}, "credit_type_ids"),
        ("listGrants", {"effective_before": "tomorrow"}, "effective_before"),
        ("listGrants?limit=0", {}, "limit"),
        ("listGrants?next_page=WyJhIiwiYiJd", {}, "next_page"),
        ("listEntries", {"ending_before": "2026-11-24T12:31:00Z"}, "ending_before"),
        (
            "listEntries",
            {"starting_on": "2026-11-02T00:00:00Z", "ending_before": "2026-11-02T00:00:00Z"},
            "ending_before",
        ),
        ("listEntries?sort=up", {}, "sort"),
    ],
)
def test_the_other_requests_name_the_field_too(
    play: Play, path: str, body: dict[str, object], field: str
) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer()
        grant = (await api.post("/v1/credits/createGrant", asked(customer)))["data"]["id"]
        if path.endswith("Grant") and field != "id":
            body["id"] = grant
        reply = await api.post(f"/v1/credits/{path}", body, 400)
        assert [each["field"] for each in reply["errors"]] == [field]

    play(scenario)


def test_a_customer_has_so_many_grants_and_no_more(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer()
        grant = (await api.post("/v1/credits/createGrant", asked(customer)))["data"]["id"]
        await api.pool.execute(
            "INSERT INTO credit_grant SELECT (r).* FROM (SELECT jsonb_populate_record(g,"
            " jsonb_build_object('id', gen_random_uuid())) AS r FROM credit_grant g,"
            " generate_series(2, $2) WHERE g.id = $1) AS copies",
            grant,
            GRANTS_MAX,
        )
        reply = await api.post("/v1/credits/createGrant", asked(customer), 409)
        assert "1000 is the most" in reply["message"]
        await api.post("/v1/credits/voidGrant", {"id": grant})
        await api.post("/v1/credits/createGrant", asked(customer))

    play(scenario)
