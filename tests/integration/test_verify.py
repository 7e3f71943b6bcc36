"""`tollgate verify` on a running Tollgate: clean after traffic with every fate in it; what was
tampered with is found and named. Everything is put back, so the tests may run in any order.
"""

import asyncio
import subprocess
import sys
import urllib.request
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from services.domain.partition import partition_of
from services.runtime.json import decode_json
from services.runtime.log import RAW
from services.runtime.postgres import connect
from tests.integration.client import Billed, Tollgate, event, wait_until


def verify(tollgate: Tollgate, *options: str) -> tuple[int, dict[str, Any], str]:
    """The command as an operator runs it: exit status, its JSON, what it says in text."""
    command = [sys.executable, "-m", "services", "verify", "--data-dir", str(tollgate.data_dir)]
    done = subprocess.run(
        [*command, *options, "--json"], capture_output=True, timeout=120, check=False
    )
    assert done.stdout, done.stderr
    text = subprocess.run(
        [*command, *options], capture_output=True, timeout=120, check=False, text=True
    )
    return done.returncode, decode_json(done.stdout), text.stdout


def sql(tollgate: Tollgate, *statements: str) -> None:
    """Change the database behind Tollgate's back."""

    async def run() -> None:
        connection = await connect(tollgate.run["database_url"])
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def put_foreign(tollgate: Tollgate, records: list[tuple[int, bytes | None, bytes]]) -> None:
    """Records on usage.raw that the gateway did not write: (partition, key, value)."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=tollgate.run["kafka_bootstrap_servers"])
        await producer.start()
        try:
            for partition, key, value in records:
                await producer.send_and_wait(RAW, value, key, partition)
        finally:
            await producer.stop()

    asyncio.run(send())


@pytest.fixture(scope="module")
def billed(tollgate: Tollgate) -> Billed:
    """Traffic with every fate: counted, duplicate, conflict, refused by a metric, junk."""
    there = [{"name": "bytes", "exists": True}, {"name": "region", "exists": True}]
    billed = tollgate.billed("0.01", group_keys=[["region"]], property_filters=there)
    only_summed = tollgate.billed("0.01")
    name = uuid4().hex[:8]
    for kind in ("COUNT", "MAX", "LATEST", "UNIQUE"):
        key = {} if kind == "COUNT" else {"aggregation_key": "bytes"}
        tollgate.post(
            "/v1/billable-metrics/create",
            {
                "name": f"{kind} {name}",
                "aggregation_type": kind,
                "event_type_filter": {"in_values": [billed.event_type]},
                "property_filters": there,
                **key,
            },
        )
    sound = [event(billed, f"{name}-{number}", f"{number}.5") for number in range(60)]
    for events in (sound, sound[:20], [event(billed, f"{name}-1", "7")]):
        assert tollgate.patient("POST", "/v1/ingest", events).status == 200
    refused = [event(only_summed, f"{name}-none", "many")]
    assert tollgate.patient("POST", "/v1/ingest", refused).status == 200
    odd = [event(billed, f"{name}-odd{n}", text) for n, text in enumerate(["NaN", "1_000", " 1"])]
    assert tollgate.patient("POST", "/v1/ingest", odd).status == 200
    partitions = len(tollgate.call("GET", "/v1/tollgate/verify").body["partitions"])
    wrong = (partition_of("x", partitions) + 1) % partitions
    put_foreign(tollgate, [(0, None, b"junk"), (0, b"k", b'{"x": "\xff"}'), (wrong, b"x", b"{}")])
    tollgate.settled(billed, 60 * 59 // 2 + 30)
    wait_until(
        lambda: tollgate.call("GET", "/v1/tollgate/verify").body["total"]["in_flight"] == 0,
        lambda: "the foreign records are still in flight",
    )
    return billed


def test_traffic_with_every_fate_adds_up(tollgate: Tollgate, billed: Billed) -> None:
    status, document, text = verify(tollgate)
    assert (status, document["adds_up"], document["problems"]) == (0, True, [])
    total = document["total"]
    assert total["counted"] >= 63
    assert total["duplicates"] >= 21
    assert total["conflicts"] >= 1
    assert total["rejected"] >= 4
    fates = total["counted"] + total["duplicates"] + total["rejected"]
    assert total["accepted"] == fates + total["in_flight"]
    assert "adds up" in text


def test_the_api_says_the_same_and_metrics_show_it(tollgate: Tollgate, billed: Billed) -> None:
    answer = tollgate.call("GET", "/v1/tollgate/verify")
    _, document, _ = verify(tollgate)
    assert (answer.status, answer.body) == (200, document)
    assert tollgate.call("GET", "/v1/tollgate/verify", token="wrong").status == 401
    run = tollgate.run
    request = urllib.request.Request(
        run["api_url"] + "/metrics", headers={"Authorization": f"Bearer {run['token']}"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = reply.read().decode().splitlines()
    shown = [line.split() for line in lines if line.startswith("tollgate_counted_total{")]
    assert sum(int(value) for _, value in shown) == document["total"]["counted"]


def test_the_database_agrees_with_the_log(tollgate: Tollgate, billed: Billed) -> None:
    status, document, text = verify(tollgate, "--deep")
    assert (status, document["deep"]["differences"]) == (0, [])
    assert document["deep"]["agrees"]
    assert document["deep"]["drafts"] >= 1
    assert document["deep"]["aggregates"] >= 10
    assert "agrees with the log" in text


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
    "a draft that is gone": (
        "CREATE TABLE taken AS SELECT * FROM invoice WHERE " + INVOICE + ";"
        "DELETE FROM invoice WHERE " + INVOICE,
        "INSERT INTO invoice SELECT * FROM taken; DROP TABLE taken",
        "invoice of customer",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found(tollgate: Tollgate, billed: Billed, what: str) -> None:
    names = {"metric": billed.metric_id, "customer": billed.customer_id}
    done, undone, named = (text.format(**names) for text in TAMPERED[what])
    sql(tollgate, done)
    try:
        status, document, text = verify(tollgate, "--deep")
    finally:
        sql(tollgate, undone)
    assert status == 1
    assert document["adds_up"]  # only a deep look can see it
    [difference, *_] = document["deep"]["differences"]
    assert named in difference["where"]
    assert difference["where"] in text
    assert verify(tollgate, "--deep")[0] == 0


def test_a_rejection_that_is_gone_is_found_without_a_deep_look(
    tollgate: Tollgate, billed: Billed
) -> None:
    sql(
        tollgate,
        "CREATE TABLE taken AS SELECT * FROM rejected_event WHERE reason = 'not_json'",
        "DELETE FROM rejected_event WHERE reason = 'not_json'",
    )
    try:
        status, document, text = verify(tollgate)
    finally:
        sql(tollgate, "INSERT INTO rejected_event SELECT * FROM taken", "DROP TABLE taken")
    assert status == 1
    assert [found["kind"] for found in document["problems"]] == ["rejections_differ"]
    assert "rejected_event" in text
    assert verify(tollgate)[0] == 0


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
