"""Hands for the tests of verify: the command, and a customer with a plan of everything."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.runtime.json import decode_json
from tests.integration.client import Billed, Tollgate, command, event


def verify(tollgate: Tollgate, *options: str) -> tuple[int, dict[str, Any]]:
    """The command as a program runs it: exit status and its JSON."""
    done = command(tollgate, "verify", *options, "--json")
    assert done.stdout, done.stderr
    return done.returncode, decode_json(done.stdout)


def shown(tollgate: Tollgate, *options: str) -> str:
    """The command as an operator runs it: what it prints."""
    return command(tollgate, "verify", *options).stdout


def looked_at(tollgate: Tollgate) -> dict[str, Any]:
    """What the API says."""
    answer = tollgate.call("GET", "/v1/tollgate/verify")
    assert answer.status == 200, answer
    body: dict[str, Any] = answer.body
    return body


THERE = [{"name": "bytes", "exists": True}, {"name": "region", "exists": True}]


def rich_customer(tollgate: Tollgate, billed: Billed, name: str) -> str:
    """A customer with two aliases on a plan of every aggregation, with tiers and conversions, that
    holds from today on; its id. Beside `billed`, whose event type it uses."""
    aliases = [f"rich-{name}-{number}" for number in range(2)]
    body = {"name": name, "ingest_aliases": aliases}
    customer = str(tollgate.post("/v1/customers", body)["id"])
    charges: list[dict[str, object]] = []
    for kind in ("COUNT", "SUM", "MAX", "LATEST", "UNIQUE"):
        metric = {
            "name": f"{kind} {name}",
            "aggregation_type": kind,
            "event_type_filter": {"in_values": [billed.event_type]},
            "property_filters": THERE,
            **({} if kind == "COUNT" else {"aggregation_key": "bytes"}),
            "group_keys": [["region"]],
        }
        charge: dict[str, object] = {
            "name": kind,
            "product_name": "both" if kind in ("SUM", "COUNT") else kind,
            "billable_metric_id": tollgate.post("/v1/billable-metrics/create", metric)["id"],
            "prices": [{"tier": 0, "value": "0.3"}, {"tier": "2.5", "value": "0.0000001"}],
        }
        if kind in ("SUM", "MAX"):
            rounding = {"rounding_behavior": "ceiling"} if kind == "MAX" else {}
            charge["unit_conversion"] = {"division_factor": "7", **rounding}
        charges.append(charge)
    plan = tollgate.post("/v1/plans/create", {"name": name, "charges": charges})["id"]
    today = datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")
    body = {"plan_id": plan, "starting_on": today}
    tollgate.post(f"/v1/customers/{customer}/plans/add", body)
    _on_everything(tollgate, customer, charges)
    # The last one is of before the plan: LATEST bills the increase since then.
    before = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    posts = [
        event(billed, f"{alias}-{n}", f"{n}.{n}", customer_id=alias, **at)
        for n, at in enumerate([{}] * 20 + [{"timestamp": before}])
        for alias in aliases
    ]
    assert tollgate.patient("POST", "/v1/ingest", posts).status == 200
    return customer


def _on_everything(tollgate: Tollgate, customer: str, charges: list[dict[str, object]]) -> None:
    """The customer on a second plan: by week for three weeks, the first of them a trial, with
    groups, tiers that run on, charges that are not metered, a minimum and an own price."""
    grouped: list[dict[str, object]] = [
        {**charge, "name": f"{charge['name']} by region", "group_key": ["region"]}
        for charge in charges
    ]
    running = [{**charge, "tier_reset_frequency": 2} for charge in charges]
    prices = [{"tier": 0, "value": "0.7"}]
    others: list[dict[str, object]] = [
        {"name": "fee", "product_name": "fee", "charge_type": "fixed", "prices": prices},
        {"name": "share", "product_name": "share", "charge_type": "composite", "prices": prices},
        {"name": "least", "product_name": "fee", "charge_type": "minimum", "prices": prices},
    ]
    body = {
        "name": "everything",
        "billing_frequency": "WEEKLY",
        "billing_cycle": "ANNIVERSARY",
        "charges": grouped + running + others,
        "minimums": [{"name": "weekly minimum", "value": 9}],
    }
    plan = tollgate.post("/v1/plans/create", body)["id"]
    listed = tollgate.call("GET", f"/v1/planDetails/{plan}/charges").body["data"]
    own = {
        "charge_id": listed[0]["id"],
        "adjustment_type": "percentage",
        "start_period": 1,
        "value": "-0.25",
    }
    begins = datetime.now(UTC) - timedelta(days=20)
    added = {
        "plan_id": plan,
        "starting_on": begins.strftime("%Y-%m-%dT00:00:00Z"),
        "price_adjustments": [own],
        "trial_spec": {"length_in_days": 7},
    }
    tollgate.post(f"/v1/customers/{customer}/plans/add", added)
