"""The walk-through as steps against a running Tollgate, each shown as the curl line it equals.

The calls go through Metronome's own client, unchanged but for its base URL.
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from metronome import Metronome
from metronome.types.v1.customers import Invoice

from services.demo.show import curl, heading, say
from services.domain.period import month_start

SETTLE_S = 30.0
POLL_S = 0.05
GIGABYTE = 10**9


class WalkThroughFailed(Exception):
    """Something was not as it must be; the message says what."""


@dataclass(frozen=True, slots=True)
class Billed:
    """A customer on a plan over a metric."""

    customer_id: str
    alias: str
    metric_id: str


def walk_through(api_url: str, token: str) -> None:
    """Run every step; raises WalkThroughFailed at the first thing that is wrong."""
    client = Metronome(base_url=api_url, bearer_token=token)
    run = uuid4().hex[:8]  # names of this run, so that it can be run again on the same data
    heading("1. A customer, a metric, a plan")
    priced = [{"tier": 0, "value": "0.01"}]
    flat = _set_up(client, f"acme-{run}", "transfer", priced, None)
    heading("2. Three events in one request, two of them with the same transaction_id")
    events = [
        _event(flat.alias, f"{run}-1", "5000", "us-west-2"),
        _event(flat.alias, f"{run}-2", "1000", "eu-central-1"),
        _event(flat.alias, f"{run}-1", "5000", "us-west-2"),
    ]
    curl("POST", "/v1/ingest", events)
    client.v1.usage.ingest(usage=events)  # type: ignore[arg-type]  # plain dicts, as a user writes
    heading("3. The draft invoice: 6000 bytes at 0.01 cents, the duplicate ignored")
    invoice = _settled(client, flat, Decimal(6000))
    _expect("line name", invoice.line_items[0].name, "transfer")
    _expect("lines", len(invoice.line_items), 1)
    _expect("quantity", _number(invoice.line_items[0].quantity), Decimal(6000))
    _expect("total", _number(invoice.total), Decimal(60))
    heading("4. The metric as the customer sees it, and usage by region")
    _show_usage(client, flat)
    heading("5. Tiers: $0.10/GB for the first 100 GB, $0.09 for the next 900, $0.08 beyond")
    _tiers(client, run)


def _set_up(
    client: Metronome,
    alias: str,
    event_type: str,
    prices: list[dict[str, object]],
    conversion: dict[str, object] | None,
) -> Billed:
    body: dict[str, object] = {"name": alias, "ingest_aliases": [alias]}
    curl("POST", "/v1/customers", body)
    customer = client.v1.customers.create(name=alias, ingest_aliases=[alias]).data
    _expect("external_id", customer.external_id, alias)
    body = {
        "name": f"bytes of {event_type}",
        "aggregation_type": "SUM",
        "aggregation_key": "bytes",
        "event_type_filter": {"in_values": [event_type]},
        "property_filters": [{"name": "bytes", "exists": True}, {"name": "region", "exists": True}],
        "group_keys": [["region"]],
    }
    curl("POST", "/v1/billable-metrics/create", body)
    metric = client.v1.billable_metrics.create(**body).data  # type: ignore[arg-type]  # one body
    charge: dict[str, object] = {
        "name": event_type,
        "product_name": event_type,
        "billable_metric_id": metric.id,
        "prices": prices,
    }
    if conversion is not None:
        charge["unit_conversion"] = conversion
    body = {"name": f"plan of {alias}", "charges": [charge]}
    curl("POST", "/v1/plans/create", body)
    created = client.post("/v1/plans/create", body=body, cast_to=object)
    assert isinstance(created, dict)
    plan_id = str(created["data"]["id"])
    starting_on = month_start(datetime.now(UTC)).isoformat().replace("+00:00", "Z")
    body = {"plan_id": plan_id, "starting_on": starting_on}
    curl("POST", f"/v1/customers/{customer.id}/plans/add", body)
    client.v1.customers.plans.add(customer_id=customer.id, plan_id=plan_id, starting_on=starting_on)
    return Billed(customer.id, alias, metric.id)


def _event(
    alias: str, transaction_id: str, amount: str, region: str, event_type: str = "transfer"
) -> dict[str, object]:
    return {
        "transaction_id": transaction_id,
        "customer_id": alias,
        "event_type": event_type,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "properties": {"bytes": amount, "region": region},
    }


def _settled(client: Metronome, billed: Billed, quantity: Decimal) -> Invoice:
    """The draft once it shows the quantity; how long that took is worth a line."""
    path = f"/v1/customers/{billed.customer_id}/invoices?status=DRAFT"
    curl("GET", path, None)
    began = time.monotonic()
    while True:
        drafts = list(
            client.v1.customers.invoices.list(customer_id=billed.customer_id, status="DRAFT")
        )
        _expect("drafts", len(drafts), 1)
        shown = _number(drafts[0].line_items[0].quantity)
        if shown == quantity:
            say(f"counted {1000 * (time.monotonic() - began):.0f} ms after the 200")
            _show_invoice(drafts[0])
            return drafts[0]
        if time.monotonic() - began > SETTLE_S:
            raise WalkThroughFailed(
                f"the draft still shows {shown} after {SETTLE_S:.0f} s, not {quantity};"
                " `tollgate lag` says which stage is behind, its log is in DATA_DIR/logs"
            )
        time.sleep(POLL_S)


def _show_invoice(invoice: Invoice) -> None:
    for line in invoice.line_items:
        say(
            f"{invoice.status}  {line.name}: quantity {_number(line.quantity):f},"
            f" total {_number(line.total):f} {line.credit_type.name}"
        )
        for charge in line.sub_line_items or []:
            for tier in charge.tiers or []:
                say(
                    f"       from {_number(tier.starting_at):f}: {_number(tier.quantity):f}"
                    f" x {_number(tier.price):f} = {_number(tier.subtotal):f}"
                )
    say(f"       total {_number(invoice.total):f} {invoice.credit_type.name}")


def _show_usage(client: Metronome, billed: Billed) -> None:
    curl("GET", f"/v1/customers/{billed.customer_id}/billable-metrics", None)
    metrics = list(client.v1.customers.list_billable_metrics(customer_id=billed.customer_id))
    [own] = [metric for metric in metrics if metric.id == billed.metric_id]
    say(f"{own.name}: {own.aggregation_type} of {own.aggregation_key}, group_by {own.group_by}")
    _expect("group_by", own.group_by, ["region"])
    body = {
        "customer_id": billed.customer_id,
        "billable_metric_id": billed.metric_id,
        "window_size": "NONE",
        "current_period": True,
        "group_key": ["region"],
    }
    curl("POST", "/v1/usage/groups", body)
    groups = client.v1.usage.list_with_groups(**body)  # type: ignore[arg-type]  # one body
    by_region = {(item.group or {})["region"]: _number(item.value) for item in groups}
    for region, value in sorted(by_region.items()):
        say(f"{region}: {value:f}")
    _expect("usage", by_region, {"us-west-2": Decimal(5000), "eu-central-1": Decimal(1000)})


def _tiers(client: Metronome, run: str) -> None:
    prices: list[dict[str, object]] = [
        {"tier": 0, "value": 10},
        {"tier": 100, "value": 9},
        {"tier": 1000, "value": 8},
    ]
    tiered = _set_up(
        client, f"globex-{run}", f"egress-{run}", prices, {"division_factor": GIGABYTE}
    )
    events = [
        _event(tiered.alias, f"{run}-t{n}", str(100 * GIGABYTE), "us-west-2", f"egress-{run}")
        for n in range(15)
    ]
    curl("POST", "/v1/ingest", events[:1])
    say("... and 14 more: 1,500 GB in all")
    client.v1.usage.ingest(usage=events)  # type: ignore[arg-type]  # plain dicts, as a user writes
    invoice = _settled(client, tiered, Decimal(1500))
    charges = invoice.line_items[0].sub_line_items or []
    shown = [
        (_number(tier.starting_at), _number(tier.quantity), _number(tier.subtotal))
        for tier in charges[0].tiers or []
    ]
    expected = [(0, 100, 1000), (100, 900, 8100), (1000, 500, 4000)]
    _expect("tiers", shown, [tuple(Decimal(part) for part in row) for row in expected])
    _expect("total", _number(invoice.total), Decimal(13_100))


def _number(value: float | str | None) -> Decimal:
    """The client parses every number as a float; its text is what was sent."""
    text = json.dumps(value).strip('"')
    number = Decimal(text)
    return number.to_integral_value() if number == number.to_integral_value() else number


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise WalkThroughFailed(f"{what}: expected {wanted}, found {found}")
