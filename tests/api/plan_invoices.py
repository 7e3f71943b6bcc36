"""Usage as the projector counts it and invoices as the pricing step writes them, over the API."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.domain.aggregate import Aggregate, AggregateKey, Latest, hour_of
from services.domain.meter import Aggregation
from services.projector.drafts_postgres import PostgresDrafts
from services.projector.pricer import Pricer
from services.runtime.json import decode_json
from tests.api.conftest import NOW, Api
from tests.api.usage_rows import counted
from tests.contract.projections import in_postgres

# Reference, metric, group, instant, value.
Use = tuple[str, str, tuple[str | None, ...], datetime, str]


def utc(year: int, month: int, day: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


async def units(api: Api) -> dict[str, str]:
    """The pricing units by name, with one of one's own."""
    listed = (await api.get("/v1/credit-types/list"))["data"]
    names = {each["name"]: each["id"] for each in listed}
    if "credits" not in names:
        names["credits"] = (await api.sdk.v1.pricing_units.create(name="credits")).data.id
    return names


async def use(api: Api, kind: Aggregation, uses: Sequence[Use]) -> None:
    """Count these events, and nothing else in this database."""
    usage: dict[AggregateKey, Aggregate] = {}
    for offset, (reference, metric, group, at, value) in enumerate(uses):
        key = AggregateKey(reference, UUID(metric), group, hour_of(at))
        aggregate = usage.setdefault(key, Aggregate())
        aggregate.merge(counted(kind, Latest(at, 0, offset, Decimal(value))))
    subject = await in_postgres(api.pool)
    await subject.apply(subject.flush(usage))


async def put_on(api: Api, customer: str, plan: str, start: str, **fields: object) -> str:
    """A customer's plan from a day on; its id."""
    body = {"plan_id": plan, "starting_on": f"{start}T00:00:00Z", **fields}
    reply = await api.post(f"/v1/customers/{customer}/plans/add", body)
    return str(reply["data"]["id"])


async def price(api: Api, now: datetime = NOW) -> None:
    """What the pricing step does until nothing is stale."""
    drafts = PostgresDrafts(api.pool)
    await drafts.open_periods(now)
    pricer = Pricer(drafts, lambda: now)
    while await pricer.price_stale():
        pass


async def invoices(api: Api, customer: str, now: datetime = NOW) -> list[dict[str, Any]]:
    """Every invoice of a customer, priced by now, exact; the official client reads the same."""
    await price(api, now)
    reply = await api.http.get(f"/v1/customers/{customer}/invoices")
    assert reply.status_code == 200, reply.text
    listed: list[dict[str, Any]] = decode_json(reply.content)["data"]
    theirs = [each async for each in api.sdk.v1.customers.invoices.list(customer_id=customer)]
    assert [float(each["total"]) for each in listed] == [each.total for each in theirs]
    return listed


async def make_plan(api: Api, *charges: dict[str, object], **fields: object) -> str:
    """A plan of these charges; its id."""
    body = {"name": "p", "charges": list(charges), **fields}
    return str((await api.post("/v1/plans/create", body))["data"]["id"])


def charge(metric: str | None, *prices: tuple[object, object], **fields: object) -> dict[str, Any]:
    """A charge; of product API unless told otherwise."""
    made: dict[str, Any] = {
        "name": "calls",
        "product_name": "API",
        "prices": [{"tier": tier, "value": value} for tier, value in prices or [(0, 1)]],
        **fields,
    }
    if metric is not None:
        made["billable_metric_id"] = metric
    return made


def spans(listed: Sequence[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    """First day, day after the last, total."""
    return [
        (each["start_timestamp"][:10], each["end_timestamp"][:10], each["total"]) for each in listed
    ]
