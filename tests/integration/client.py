"""A user of a running Tollgate: plain HTTP as curl sends it, exact JSON, kill by name."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from services.runtime.json import decode_json, encode_json

SETTLE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """Status, parsed body (None when empty), headers."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Billed:
    """A customer on a plan over a metric."""

    customer_id: str
    alias: str
    metric_id: str
    event_type: str


class Tollgate:
    """A running Tollgate by its data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    @property
    def run(self) -> dict[str, Any]:
        """run.json as it is now."""
        content: dict[str, Any] = decode_json((self.data_dir / "run.json").read_bytes())
        return content

    def call(self, method: str, path: str, body: object = None, token: str = "") -> Answer:
        """One request. urllib labels a body as a form, as `curl -d` does."""
        run = self.run
        content = body if isinstance(body, bytes) else None if body is None else encode_json(body)
        headers = {"Authorization": f"Bearer {token or run['token']}"}
        request = urllib.request.Request(
            run["api_url"] + path, data=content, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return _answer(reply.status, reply.read(), dict(reply.headers))
        except urllib.error.HTTPError as refusal:
            with refusal:
                return _answer(refusal.code, refusal.read(), dict(refusal.headers))

    def patient(self, method: str, path: str, body: object = None) -> Answer:
        """As call; a 503 is tried again, as its Retry-After says."""
        deadline = time.monotonic() + SETTLE_S
        while (answer := self.call(method, path, body)).status == 503:
            assert time.monotonic() < deadline, answer
            time.sleep(0.2)
        return answer

    def post(self, path: str, body: object) -> Any:
        """A POST that must succeed; its `data`."""
        answer = self.patient("POST", path, body)
        assert answer.status == 200, answer
        return None if answer.body is None else answer.body["data"]

    def metric(self, event_type: str, **fields: object) -> str:
        """A SUM of `bytes` on one event type, grouped by region."""
        body = {
            "name": event_type,
            "aggregation_type": "SUM",
            "aggregation_key": "bytes",
            "event_type_filter": {"in_values": [event_type]},
            "property_filters": [{"name": "bytes", "exists": True}, {"name": "region"}],
            **fields,
        }
        return str(self.post("/v1/billable-metrics/create", body)["id"])

    def billed(self, price: str = "0.01", **fields: object) -> Billed:
        """A new customer on a plan of its own."""
        name = uuid4().hex[:10]
        alias, event_type = f"alias-{name}", f"transfer-{name}"
        body = {"name": name, "ingest_aliases": [alias]}
        customer_id = str(self.post("/v1/customers", body)["id"])
        metric_id = self.metric(event_type, **fields)
        charge = {
            "name": "transfer",
            "product_name": "transfer",
            "billable_metric_id": metric_id,
            "prices": [{"tier": 0, "value": price}],
        }
        plan = self.post("/v1/plans/create", {"name": name, "charges": [charge]})["id"]
        start = datetime.now(UTC).strftime("%Y-%m-01T00:00:00Z")
        body = {"plan_id": plan, "starting_on": start}
        self.post(f"/v1/customers/{customer_id}/plans/add", body)
        return Billed(customer_id, alias, metric_id, event_type)

    def draft(self, billed: Billed) -> dict[str, Any]:
        """The one draft of a customer."""
        path = f"/v1/customers/{billed.customer_id}/invoices?status=DRAFT"
        answer = self.patient("GET", path)
        assert answer.status == 200, answer
        [draft] = answer.body["data"]
        return dict(draft)

    def settled(self, billed: Billed, quantity: Decimal | int) -> dict[str, Any]:
        """The draft once it shows the quantity."""
        wait_until(
            lambda: self.draft(billed)["line_items"][0]["quantity"] == quantity,
            lambda: f"the draft shows {self.draft(billed)['line_items'][0]}, not {quantity}",
        )
        return self.draft(billed)

    def settled_line(self, billed: Billed, product: str, quantity: Decimal | int) -> None:
        """Return once a product's line on any of the customer's drafts shows the quantity."""
        path = f"/v1/customers/{billed.customer_id}/invoices?status=DRAFT"

        def shown() -> list[Any]:
            drafts = self.patient("GET", path).body["data"]
            lines = [line for draft in drafts for line in draft["line_items"]]
            return [line["quantity"] for line in lines if line["name"] == product]

        wait_until(lambda: shown() == [quantity], lambda: f"{product} shows {shown()}")

    def pid(self, name: str) -> int:
        """The pid of a process by its name in run.json."""
        [pid] = [entry["pid"] for entry in self.run["processes"] if entry["name"] == name]
        return int(pid)

    def kill(self, name: str) -> int:
        """kill -9 by name; returns the pid that was."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid


def command(tollgate: Tollgate, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One `tollgate` command against the running stack."""
    words = [sys.executable, "-m", "services", *arguments, "--data-dir", str(tollgate.data_dir)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def event(billed: Billed, transaction_id: str, amount: str, **fields: object) -> dict[str, object]:
    """One event of the customer's own type, now."""
    return {
        "transaction_id": transaction_id,
        "customer_id": billed.alias,
        "event_type": billed.event_type,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "properties": {"bytes": amount, "region": "eu"},
        **fields,
    }


def wait_until(done: Callable[[], bool], why_not: Callable[[], str]) -> None:
    """Poll until `done`, at most SETTLE_S."""
    deadline = time.monotonic() + SETTLE_S
    while not done():
        assert time.monotonic() < deadline, why_not()
        time.sleep(0.05)


def _answer(status: int, content: bytes, headers: dict[str, str]) -> Answer:
    return Answer(status, decode_json(content) if content else None, headers)
