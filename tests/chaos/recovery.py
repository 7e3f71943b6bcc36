"""How long after a kill -9 everything flows again: `python -m tests.chaos.recovery`.

With load going on, recovered is the first moment at which the killed process is another one, a
request was answered 200 since then, and what was taken up to less than a second ago is counted.
"""

import argparse
import asyncio
import logging
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.runtime.log import RAW
from tests.chaos.load import Load
from tests.chaos.world import SERVERS, STAGES
from tests.integration.client import Tollgate
from tests.integration.running import running

PARTITIONS = 8
FRESH_S = 1.0
# Longer is no recovery.
RECOVERY_S_MAX = 60.0
_POSITIONS = "SELECT partition, next_raw_offset FROM projection_position"
_POLL_S = 0.1
# A server that is away must not hold up the clock.
_ANSWER_S_MAX = 2.0

Offsets = dict[int, int]


class Progress:
    """Until when what was taken is counted, by the ends of usage.raw as they were at each time."""

    def __init__(self, tollgate: Tollgate) -> None:
        self._run = tollgate.run
        self._ends: deque[tuple[float, Offsets]] = deque(maxlen=600)
        self.counted_until = 0.0

    async def keep(self) -> None:
        """Look ten times a second; whatever is away is looked at again."""
        while True:
            with suppress(Exception):  # Kafka or PostgreSQL is away, which is the very point
                async with asyncio.timeout(_ANSWER_S_MAX):
                    await self._look()
            await asyncio.sleep(_POLL_S)

    async def _look(self) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._run["kafka_bootstrap_servers"])
        try:
            await consumer.start()
            connection = await asyncpg.connect(self._run["database_url"])
            try:
                while True:
                    async with asyncio.timeout(_ANSWER_S_MAX):
                        await self._sample(consumer, connection)
                    await asyncio.sleep(_POLL_S)
            finally:
                connection.terminate()
        finally:
            await consumer.stop()

    async def _sample(self, consumer: AIOKafkaConsumer, connection: asyncpg.Connection) -> None:
        at = time.monotonic()
        ends = await consumer.end_offsets([TopicPartition(RAW, p) for p in range(PARTITIONS)])
        self._ends.append((at, {place.partition: end for place, end in ends.items()}))
        rows = await connection.fetch(_POSITIONS)
        counted = {row["partition"]: row["next_raw_offset"] for row in rows}
        for then, wanted in self._ends:
            if all(counted.get(p, 0) >= end for p, end in wanted.items()):
                self.counted_until = max(self.counted_until, then)


@asynccontextmanager
async def loaded(tollgate: Tollgate, events_per_s: int) -> AsyncIterator[tuple[Load, Progress]]:
    """Load at a rate, and a look at how far it is counted."""
    exact = [{"name": name, "exists": True} for name in ("bytes", "region")]
    customers = [
        await asyncio.to_thread(tollgate.billed, property_filters=exact, group_keys=[["region"]])
        for _ in range(6)
    ]
    run = tollgate.run
    name = f"recovery-{uuid4().hex[:6]}"
    load = Load([run["api_url"]], run["token"], customers, name, events_per_s, random.Random(1))
    progress, stopping = Progress(tollgate), asyncio.Event()
    posting = asyncio.create_task(load.run(stopping))
    looking = asyncio.create_task(progress.keep())
    try:
        await _flowing(progress, since=time.monotonic())
        yield load, progress
    finally:
        stopping.set()
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await posting  # raises what a client was told that it must not be told


async def recovered(tollgate: Tollgate, load: Load, progress: Progress, name: str) -> float:
    """Kill one process; the seconds until everything flows again."""
    began = time.monotonic()
    killed = tollgate.kill(name)
    while not any(p["name"] == name and p["pid"] != killed for p in tollgate.run["processes"]):
        assert time.monotonic() - began < RECOVERY_S_MAX, f"{name} was not started again"
        await asyncio.sleep(0.05)
    accepted = load.statuses["200"]
    while load.statuses["200"] == accepted:
        assert time.monotonic() - began < RECOVERY_S_MAX, f"no 200 after {name} was killed"
        await asyncio.sleep(0.05)
    await _flowing(progress, since=time.monotonic())
    return time.monotonic() - began


async def _flowing(progress: Progress, since: float) -> None:
    while True:
        now = time.monotonic()
        if progress.counted_until >= max(since, now - FRESH_S):
            return
        assert now - since < RECOVERY_S_MAX, f"counted until {now - progress.counted_until:.1f} s"
        await asyncio.sleep(0.05)


async def _measure(tollgate: Tollgate, events_per_s: int, times: int, names: list[str]) -> None:
    async with loaded(tollgate, events_per_s) as (load, progress):
        for name in names:
            seconds = []
            for _ in range(times):
                # So that the supervisor takes the next death for a new trouble.
                await asyncio.sleep(11)
                seconds.append(await recovered(tollgate, load, progress, name))
            shown = ", ".join(f"{each:.1f}" for each in seconds)
            print(f"{name:<10} {statistics.median(seconds):5.1f} s  ({shown})", flush=True)
        print(dict(load.statuses), f"slowest answer {load.slowest_s:.1f} s")


def main() -> None:
    """Entry."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.recovery")
    parser.add_argument("--rate", type=int, default=2_000, help="events a second")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[*STAGES, *SERVERS])
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # Kafka goes away on purpose
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-recovery-") as directory,
        running(Path(directory)) as tollgate,
    ):
        asyncio.run(_measure(tollgate, options.rate, options.times, options.only))


if __name__ == "__main__":
    main()
