"""The whole of Tollgate as a user meets it: HTTP in, draft invoice out, real servers between."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from services.runtime.json import decode_json
from tests.integration.client import Tollgate, command, event, wait_until


def test_the_walk_through_comes_out_right(tollgate: Tollgate) -> None:
    done = command(tollgate, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quantity 6000, total 60 USD (cents)" in done.stdout
    assert "total 13100 USD (cents)" in done.stdout


def test_a_draft_is_there_before_any_usage(tollgate: Tollgate) -> None:
    draft = tollgate.draft(tollgate.billed())
    assert draft["total"] == 0
    assert [line["name"] for line in draft["line_items"]] == ["transfer"]


def test_a_duplicate_is_accepted_and_counted_once(tollgate: Tollgate) -> None:
    billed = tollgate.billed()
    one, run = event(billed, f"{billed.alias}-1", "5000"), event(billed, f"{billed.alias}-2", "1")
    assert tollgate.call("POST", "/v1/ingest", [one, run, one]).status == 200
    assert tollgate.call("POST", "/v1/ingest", [one]).status == 200
    assert tollgate.settled(billed, 5001)["total"] == 50
    assert tollgate.draft(billed)["subtotal"] == Decimal("50.01")


def test_digits_survive_from_request_to_invoice(tollgate: Tollgate) -> None:
    billed = tollgate.billed(price="0.1000000000000000000000000001")
    body = event(billed, billed.alias, "", properties={"bytes": Decimal("3.00000000000000000001")})
    assert tollgate.call("POST", "/v1/ingest", [body]).status == 200
    draft = tollgate.settled(billed, Decimal("3.00000000000000000001"))
    exact = Decimal("0.300000000000000000001000000300000000000000000001")
    # The 28 digits of the default context would round here; both sides are compared as text.
    assert f"{draft['subtotal']:f}" == f"{exact:f}"


def test_a_metric_counts_the_very_next_event(tollgate: Tollgate) -> None:
    for _ in range(3):
        billed = tollgate.billed()
        assert tollgate.call("POST", "/v1/ingest", [event(billed, billed.alias, "7")]).status == 200
        tollgate.settled(billed, 7)


def test_an_alias_added_later_brings_its_past_usage_along(tollgate: Tollgate) -> None:
    billed = tollgate.billed()
    late = f"late-{billed.alias}"
    body = event(billed, billed.alias, "9", customer_id=late)
    assert tollgate.call("POST", "/v1/ingest", [body]).status == 200
    tollgate.post(
        f"/v1/customers/{billed.customer_id}/setIngestAliases",
        {"ingest_aliases": [billed.alias, late]},
    )
    tollgate.settled(billed, 9)


def test_archiving_a_customer_voids_its_draft(
    tollgate: Tollgate,
) -> None:
    billed = tollgate.billed()
    draft = tollgate.draft(billed)
    tollgate.post("/v1/customers/archive", {"id": billed.customer_id})
    path = f"/v1/customers/{billed.customer_id}/invoices/{draft['id']}"
    wait_until(
        lambda: tollgate.call("GET", path).body["data"]["status"] == "VOID",
        lambda: "the draft of an archived customer is still there",
    )


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("COUNT", 4), ("MAX", 10), ("LATEST", 5), ("UNIQUE", 3)]
)
def test_every_aggregation_reaches_the_draft(
    tollgate: Tollgate, aggregation: str, expected: int
) -> None:
    fields: dict[str, object] = {"aggregation_type": aggregation}
    if aggregation == "COUNT":
        fields["aggregation_key"] = None
    billed = tollgate.billed(price="0.01", **fields)
    now = datetime.now(UTC)
    start = now - timedelta(minutes=1)
    events = [
        event(
            billed,
            f"{billed.alias}-{n}",
            amount,
            timestamp=(start + timedelta(seconds=n)).isoformat(),
        )
        for n, amount in enumerate(["7", "10", "7", "5"])
    ]
    assert tollgate.call("POST", "/v1/ingest", list(reversed(events))).status == 200
    tollgate.settled(billed, expected)


def test_bad_input_names_index_field_and_reason_and_nothing_counts(tollgate: Tollgate) -> None:
    billed = tollgate.billed()
    good = event(billed, f"{billed.alias}-good", "5")
    bad = [event(billed, "", "1"), event(billed, "x", "1", timestamp="2026-01-01T00:00:00")]
    answer = tollgate.call("POST", "/v1/ingest", [good, *bad])
    assert answer.status == 400
    assert [(e["index"], e["field"]) for e in answer.body["errors"]] == [
        (1, "transaction_id"),
        (2, "timestamp"),
    ]
    assert all(error["reason"] for error in answer.body["errors"])
    assert tollgate.call("POST", "/v1/ingest", b"nonsense").status == 400
    assert tollgate.call("POST", "/v1/ingest", b"[" * 100_000).status == 400
    assert tollgate.call("POST", "/v1/ingest", b"x" * (5 * 1024 * 1024)).status == 413
    assert tollgate.call("POST", "/v1/ingest", [good], token="wrong").status == 401
    marker = event(billed, f"{billed.alias}-marker", "100")
    assert tollgate.call("POST", "/v1/ingest", [marker]).status == 200
    tollgate.settled(billed, 100)


def test_a_token_works_as_soon_as_it_is_made(tollgate: Tollgate) -> None:
    made = command(tollgate, "token", "create", "--name", "test")
    assert made.returncode == 0, made.stderr
    answer = tollgate.call("GET", "/v1/customers", token=made.stdout.strip())
    assert answer.status == 200


def test_lag_counts_down_to_zero_for_every_stage_and_partition(tollgate: Tollgate) -> None:
    billed = tollgate.billed()
    events = [event(billed, f"{billed.alias}-{n}", "1") for n in range(100)]
    assert tollgate.call("POST", "/v1/ingest", events).status == 200
    tollgate.settled(billed, 100)
    shown = command(tollgate, "lag", "--json")
    assert shown.returncode == 0, shown.stderr
    lags = decode_json(shown.stdout)["lag"]
    assert {(lag["stage"], lag["partition"]) for lag in lags} == {
        (stage, partition) for stage in ("dedup", "rating", "projector") for partition in range(8)
    }
    assert all(lag["records"] == 0 and lag["position"] == lag["end"] for lag in lags)
    assert sum(lag["end"] for lag in lags if lag["stage"] == "projector") >= 100
    assert "projector" in command(tollgate, "lag").stdout


def test_readiness_names_each_dependency(tollgate: Tollgate) -> None:
    assert tollgate.call("GET", "/healthz").status == 200
    ready = tollgate.call("GET", "/readyz")
    assert ready.status == 200
    assert ready.body["dependencies"] == {"postgres": "ok", "kafka": "ok"}


@pytest.mark.parametrize(
    "name", ["dedup", "rating", "projector", "gateway", "redis", "kafka", "postgres"]
)
def test_a_killed_process_comes_back_and_every_event_counts_once(
    tollgate: Tollgate, name: str
) -> None:
    """Every event is worth a power of two, so the total names the ones that were counted."""
    billed = tollgate.billed()
    killed = 0
    for number in range(60):
        if number == 20:
            killed = tollgate.kill(name)
        _post_until_accepted(tollgate, [event(billed, f"{billed.alias}-{number}", str(2**number))])
    tollgate.settled(billed, 2**60 - 1)
    wait_until(lambda: tollgate.pid(name) != killed, lambda: f"{name} is not back")


def _post_until_accepted(tollgate: Tollgate, events: list[dict[str, object]]) -> None:
    """As clients must: the same batch again until it is answered 200."""

    def accepted() -> bool:
        try:
            return tollgate.call("POST", "/v1/ingest", events).status == 200
        except OSError:
            return False

    wait_until(accepted, lambda: "never accepted")


def test_two_workers_a_stage_count_every_event_once(tollgate: Tollgate) -> None:
    run = tollgate.run
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": run["kafka_bootstrap_servers"],
        "REDIS_URL": run["redis_url"],
        "DATABASE_URL": run["database_url"],
    }
    billed = tollgate.billed()
    supervised = {stage: tollgate.pid(stage) for stage in ("dedup", "rating", "projector")}
    logs = {s: tollgate.data_dir / f"second-{s}.log" for s in ("dedup", "rating", "projector")}
    others = [_second_worker(stage, log, environment) for stage, log in logs.items()]
    try:
        for log in logs.values():
            wait_until(lambda log=log: "partitions [" in log.read_text(), log.read_text)  # type: ignore[misc]  # mypy cannot infer a lambda's default
        for number in range(40):
            batch = [event(billed, f"{billed.alias}-{number}-{n}", "1") for n in range(50)]
            _post_until_accepted(tollgate, batch)
        tollgate.settled(billed, 2000)
    finally:
        for other in others:
            other.terminate()
        for other in others:
            assert other.wait(30) == 0
    # Nobody died of the company.
    assert supervised == {stage: tollgate.pid(stage) for stage in supervised}
    _post_until_accepted(tollgate, [event(billed, uuid4().hex, "1")])
    tollgate.settled(billed, 2001)


def _second_worker(stage: str, log: Path, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("w") as lines:
        return subprocess.Popen(
            [sys.executable, "-m", "services", stage], env=environment, stderr=lines
        )
