"""`tollgate verify` on a running Tollgate: clean after traffic with every fate in it; what was
tampered with is found and named. Everything is put back, so the tests may run in any order.
"""

import subprocess
import sys
import threading
import urllib.request
from typing import Any
from uuid import uuid4

import pytest

from services.domain.partition import partition_of
from tests.integration.behind import put_foreign, sql
from tests.integration.client import Billed, Tollgate, command, event, wait_until
from tests.integration.verifying import THERE, looked_at, rich_customer, shown, verify


@pytest.fixture(scope="module")
def billed(tollgate: Tollgate) -> Billed:
    """Traffic with every fate: counted, duplicate, conflict, refused by a metric, junk."""
    billed = tollgate.billed("0.01", group_keys=[["region"]], property_filters=THERE)
    only_summed = tollgate.billed("0.01")
    name = uuid4().hex[:8]
    rich_customer(tollgate, billed, name)
    sound = [event(billed, f"{name}-{number}", f"{number}.5") for number in range(60)]
    for events in (sound, sound[:20], [event(billed, f"{name}-1", "7")]):
        assert tollgate.patient("POST", "/v1/ingest", events).status == 200
    refused = [event(only_summed, f"{name}-none", "many")]
    assert tollgate.patient("POST", "/v1/ingest", refused).status == 200
    odd = [event(billed, f"{name}-odd{n}", text) for n, text in enumerate(["NaN", "1_000", " 1"])]
    assert tollgate.patient("POST", "/v1/ingest", odd).status == 200
    partitions = len(looked_at(tollgate)["partitions"])
    wrong = (partition_of("x", partitions) + 1) % partitions
    put_foreign(tollgate, [(0, None, b"junk"), (0, b"k", b'{"x": "\xff"}'), (wrong, b"x", b"{}")])
    tollgate.settled(billed, 60 * 59 // 2 + 30)
    wait_until(
        lambda: looked_at(tollgate)["total"]["in_flight"] == 0,
        lambda: f"the foreign records are still in flight: {looked_at(tollgate)}",
    )
    return billed


def test_traffic_with_every_fate_adds_up(tollgate: Tollgate, billed: Billed) -> None:
    status, document = verify(tollgate)
    assert (status, document["adds_up"], document["problems"]) == (0, True, [])
    total = document["total"]
    assert total["counted"] >= 63
    assert total["duplicates"] >= 21
    assert total["conflicts"] >= 1
    assert total["rejected"] >= 4
    fates = total["counted"] + total["duplicates"] + total["rejected"]
    assert total["accepted"] == fates + total["in_flight"]
    assert "adds up" in shown(tollgate)


def test_the_api_says_the_same_and_metrics_show_it(tollgate: Tollgate, billed: Billed) -> None:
    answer = tollgate.call("GET", "/v1/tollgate/verify")
    _, document = verify(tollgate)
    assert (answer.status, answer.body) == (200, document)
    assert tollgate.call("GET", "/v1/tollgate/verify", token="wrong").status == 401
    run = tollgate.run
    request = urllib.request.Request(
        run["api_url"] + "/metrics", headers={"Authorization": f"Bearer {run['token']}"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = reply.read().decode().splitlines()
    counted = [line.split() for line in lines if line.startswith("tollgate_counted_total{")]
    assert sum(int(value) for _, value in counted) == document["total"]["counted"]


def test_the_database_agrees_with_the_log(tollgate: Tollgate, billed: Billed) -> None:
    status, document = verify(tollgate, "--deep")
    assert (status, document["deep"]["differences"]) == (0, [])
    assert document["deep"]["agrees"]
    assert document["deep"]["drafts"] >= 5
    assert document["deep"]["aggregates"] >= 10
    assert "agrees with the log" in shown(tollgate, "--deep")


def test_both_looks_are_right_while_traffic_goes_on(tollgate: Tollgate, billed: Billed) -> None:
    stopping = threading.Event()
    posted = iter(range(1_000_000))

    def post() -> None:
        while not stopping.is_set():
            events = [event(billed, f"live-{next(posted) // 2}", "1") for _ in range(50)]
            tollgate.patient("POST", "/v1/ingest", events)
            stopping.wait(0.02)

    thread = threading.Thread(target=post)
    thread.start()
    try:
        for options in ([], ["--deep"], [], ["--deep"]):
            status, document = verify(tollgate, *options)
            assert status == 0, document
            assert document["adds_up"]
    finally:
        stopping.set()
        thread.join()
    assert next(posted) > 100


def test_after_a_replay_took_over_with_a_later_metric_it_agrees(
    tollgate: Tollgate, billed: Billed
) -> None:
    later = {
        "name": "later",
        "aggregation_type": "COUNT",
        "event_type_filter": {"in_values": [billed.event_type]},
    }
    metric = tollgate.post("/v1/billable-metrics/create", later)["id"]
    replayed = command(tollgate, "replay", "start", "--all").stdout.split()[1]
    assert command(tollgate, "replay", "promote", replayed).returncode == 0
    try:
        events = [event(billed, f"after-{uuid4().hex}", "1") for _ in range(10)]
        assert tollgate.patient("POST", "/v1/ingest", events).status == 200
        status, document = verify(tollgate, "--deep")
        assert status == 0, document
        assert document["generation"] == int(replayed)
        names = {"metric": metric}
        done, undone, _ = (text.format(**names) for text in TAMPERED["a month's count"])
        sql(tollgate, done)
        assert verify(tollgate, "--deep")[0] == 1
        sql(tollgate, undone)
    finally:
        command(tollgate, "replay", "rollback")
    assert verify(tollgate, "--deep")[0] == 0


SERIES = "(SELECT id FROM live_series WHERE metric_id = '{metric}' LIMIT 1)"
INVOICE = "customer_id = '{customer}' AND status = 'DRAFT'"
# (what is done, how it is undone, what the report names). {metric} is the SUM of bytes.
TAMPERED = {
    "an hour's total": (
        f"UPDATE usage_hour SET total = total + 1 WHERE series_id = {SERIES}",
        f"UPDATE usage_hour SET total = total - 1 WHERE series_id = {SERIES}",
        "usage_hour",
    ),
    "a month's count": (
        f"UPDATE usage_month SET count = count - 1 WHERE series_id = {SERIES}",
        f"UPDATE usage_month SET count = count + 1 WHERE series_id = {SERIES}",
        "usage_month",
    ),
    "an aggregate that is gone": (
        f"CREATE TABLE taken AS SELECT * FROM usage_hour WHERE series_id = {SERIES};"
        f"DELETE FROM usage_hour WHERE series_id = {SERIES}",
        "INSERT INTO usage_hour SELECT * FROM taken; DROP TABLE taken",
        "usage_hour",
    ),
    "a distinct value": (
        "CREATE TABLE taken AS SELECT * FROM usage_distinct LIMIT 1; DELETE FROM usage_distinct d"
        " USING taken t WHERE d.series_id = t.series_id AND d.starts_at = t.starts_at"
        " AND d.value = t.value",
        "INSERT INTO usage_distinct SELECT * FROM taken; DROP TABLE taken",
        "usage_distinct",
    ),
    "the first hour of a month's distinct value": (
        "UPDATE usage_distinct_month SET first_at = first_at - interval '1 hour'",
        "UPDATE usage_distinct_month SET first_at = first_at + interval '1 hour'",
        "usage_distinct_month",
    ),
    "the number of distinct values": (
        "UPDATE usage_month SET distinct_count = distinct_count + 1 WHERE distinct_count > 0",
        "UPDATE usage_month SET distinct_count = distinct_count - 1 WHERE distinct_count > 1",
        "distinct_count",
    ),
    "a draft's total": (
        "UPDATE invoice SET document = jsonb_set(document, '{{total}}', '1') WHERE " + INVOICE,
        "INSERT INTO stale_draft (customer_id, month) SELECT customer_id, starts_at::date"
        " FROM invoice WHERE " + INVOICE,
        "total",
    ),
    "a tier's quantity in a draft": (
        "UPDATE invoice SET document = jsonb_set(document,"
        " '{{line_items,0,sub_line_items,0,tiers,0,quantity}}', '1') WHERE " + INVOICE,
        "INSERT INTO stale_draft (customer_id, month) SELECT customer_id, starts_at::date"
        " FROM invoice WHERE " + INVOICE,
        "line_items[0].sub_line_items[0].tiers[0].quantity",
    ),
    # As void it is no draft, and the pricing does not open its period again meanwhile.
    "a draft that is gone": (
        "UPDATE invoice SET status = 'VOID' WHERE " + INVOICE,
        "UPDATE invoice SET status = 'DRAFT' WHERE customer_id = '{customer}' AND status = 'VOID'",
        "invoice of customer",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found(tollgate: Tollgate, billed: Billed, what: str) -> None:
    names = {"metric": billed.metric_id, "customer": billed.customer_id}
    done, undone, named = (text.format(**names) for text in TAMPERED[what])
    sql(tollgate, done)
    try:
        status, document = verify(tollgate, "--deep")
        text = shown(tollgate, "--deep")
    finally:
        sql(tollgate, undone)
    assert status == 1
    assert document["adds_up"]  # only a deep look can see it
    [difference, *_] = document["deep"]["differences"]
    assert named in difference["where"]
    assert difference["where"] in text
    assert verify(tollgate, "--deep")[0] == 0


def without_rejections(tollgate: Tollgate, which: str, *options: str) -> tuple[int, Any]:
    """What verify says while these rows of rejected_event are gone."""
    sql(
        tollgate,
        f"CREATE TABLE taken AS SELECT * FROM rejected_event WHERE {which}",
        f"DELETE FROM rejected_event WHERE {which}",
    )
    try:
        return verify(tollgate, *options)
    finally:
        sql(tollgate, "INSERT INTO rejected_event SELECT * FROM taken", "DROP TABLE taken")


def test_rejections_that_are_gone_are_found_without_a_deep_look(
    tollgate: Tollgate, billed: Billed
) -> None:
    status, document = without_rejections(tollgate, "true")
    assert status == 1
    assert {found["kind"] for found in document["problems"]} == {"rejections_differ"}
    assert verify(tollgate)[0] == 0


def test_a_single_rejection_that_is_gone_is_found_by_a_deep_look(
    tollgate: Tollgate, billed: Billed
) -> None:
    """Where an event that one metric refused was counted by another, the counters leave room for a
    row too few; the log does not."""
    status, document = without_rejections(tollgate, "reason = 'not_json'", "--deep")
    assert status == 1
    assert "rejected_event" in document["deep"]["differences"][0]["where"]


@pytest.mark.parametrize(("name", "status"), [("verify", 2), ("lag", 1)])
def test_settings_of_other_partitions_than_the_topics_have_are_named(
    tollgate: Tollgate, name: str, status: int
) -> None:
    """Not waited for, and not called a server that is away."""
    partitions = len(looked_at(tollgate)["partitions"])
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": tollgate.run["kafka_bootstrap_servers"],
        "REDIS_URL": tollgate.run["redis_url"],
        "DATABASE_URL": tollgate.run["database_url"],
        "TOLLGATE_PARTITIONS": str(partitions + 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "services", name],
        env=environment, capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (status, "")
    assert f"set TOLLGATE_PARTITIONS={partitions} " in done.stderr
    assert done.stderr.count("\n") == 1


def test_servers_that_are_away_are_another_status() -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "DATABASE_URL": "postgresql://127.0.0.1:9/none",
    }
    done = subprocess.run(
        [sys.executable, "-m", "services", "verify"],
        env=environment, capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
