"""What goes on, and how, while a server is away: never a false 200, never a hang, never without
bound; and what was taken meanwhile is on the draft afterwards.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import psutil
import pytest

from services.gateway.sink_kafka import ACK_TIMEOUT_MS
from services.runtime.json import encode_json
from services.runtime.settings import MEBIBYTE, Settings
from tests.integration.absence import away, back, hung
from tests.integration.client import Answer, Tollgate, event, wait_until

# The acknowledgement's own limit, and a busy machine.
ANSWER_S_MAX = ACK_TIMEOUT_MS / 1000 + 4
BYTES_IN_FLIGHT_MAX = Settings.model_fields["bytes_in_flight_max"].default
# While Kafka is waited for, a body is there as a batch and as what aiokafka makes of it; those that
# are just being read add to it.
MEMORY_MARGIN = 3
Absence = Callable[[Tollgate, str], AbstractContextManager[None]]


def posted(tollgate: Tollgate, events: object) -> tuple[Answer, float]:
    """One request with its seconds. It must be answered: no hang, no lost connection."""
    began = time.monotonic()
    answer = tollgate.call("POST", "/v1/ingest", events)
    return answer, time.monotonic() - began


def fresh_gateway(tollgate: Tollgate) -> int:
    """Another gateway than before: one that had much memory once keeps it."""
    killed = tollgate.kill("gateway")
    wait_until(
        lambda: any(
            entry["name"] == "gateway" and entry["pid"] != killed
            for entry in tollgate.run["processes"]
        ),
        lambda: "the gateway is not started again",
    )
    assert tollgate.patient("GET", "/readyz").status == 200
    return tollgate.pid("gateway")


def accepted_at_last(tollgate: Tollgate, events: object) -> None:
    """Sent again until it is answered 200."""
    wait_until(
        lambda: posted(tollgate, events)[0].status == 200, lambda: "the gateway does not recover"
    )


@pytest.mark.parametrize("absence", [away, hung])
def test_without_kafka_ingest_says_503_in_time_and_recovers_by_itself(
    tollgate: Tollgate, absence: Absence
) -> None:
    billed = tollgate.billed()
    events = [event(billed, f"{billed.alias}-{number}", str(2**number)) for number in range(60)]
    gateway = tollgate.pid("gateway")
    with absence(tollgate, "kafka"):
        # Until the gateway notices, one request after the other waits for its acknowledgement.
        for number in range(20):
            answer, seconds = posted(tollgate, [events[number]])
            assert answer.status == 503, answer
            assert {name.lower() for name in answer.headers} >= {"retry-after"}
            assert "Kafka" in answer.body["message"]
            assert seconds < ANSWER_S_MAX
    back(tollgate, "kafka")
    accepted_at_last(tollgate, events)
    tollgate.settled(billed, 2**60 - 1)
    assert tollgate.pid("gateway") == gateway


@pytest.mark.parametrize("absence", [away, hung])
def test_the_memory_of_a_gateway_without_kafka_has_a_bound(
    tollgate: Tollgate, absence: Absence
) -> None:
    """Many clients, large bodies, nothing goes out: beyond the limit the answer is 503 at once."""
    billed = tollgate.billed()
    text = "x" * 33_000
    events = encode_json(
        [
            event(billed, f"{billed.alias}-{number}", "1", properties={"bytes": "1", "text": text})
            for number in range(100)
        ]
    )
    gateway = psutil.Process(fresh_gateway(tollgate))
    before = gateway.memory_info().rss
    peak, answered = before, 0
    with absence(tollgate, "kafka"), ThreadPoolExecutor(40) as clients:
        ends_at = time.monotonic() + 20
        while time.monotonic() < ends_at:
            waiting = [clients.submit(posted, tollgate, events) for _ in range(80)]
            while not all(answer.done() for answer in waiting):
                peak = max(peak, gateway.memory_info().rss)
                time.sleep(0.02)
            assert {answer.result()[0].status for answer in waiting} == {503}
            answered += len(waiting)
            assert max(answer.result()[1] for answer in waiting) < 2 * ANSWER_S_MAX
    back(tollgate, "kafka")
    print(f"before {before // MEBIBYTE} MiB, peak {peak // MEBIBYTE} MiB, {answered} answers")
    assert peak - before < MEMORY_MARGIN * BYTES_IN_FLIGHT_MAX
    accepted_at_last(tollgate, events)
    assert gateway.is_running()


@pytest.mark.parametrize("name", ["postgres", "redis"])
@pytest.mark.parametrize("absence", [away, hung])
def test_ingest_goes_on_without_postgres_and_without_redis(
    tollgate: Tollgate, name: str, absence: Absence
) -> None:
    billed = tollgate.billed()
    tollgate.settled(billed, 0)
    with absence(tollgate, name):
        ends_at = time.monotonic() + 12
        number = 0
        while time.monotonic() < ends_at:
            answer, seconds = posted(tollgate, [event(billed, f"{billed.alias}-{number}", "1")])
            assert answer.status == 200, answer
            assert seconds < ANSWER_S_MAX
            number += 1
    back(tollgate, name)
    tollgate.settled(billed, number)
