"""`tollgate lag`: how far each stage is behind, by partition, from the stages' own outputs.

Every position is a raw offset, so the stages compare: dedup has judged up to the last range of
usage.unique, rating up to the last range of usage.rated, the projector up to its row in Postgres.
Committed consumer offsets play no part.
"""

import argparse
import asyncio
import sys
from dataclasses import asdict, dataclass

import asyncpg
from aiokafka.errors import KafkaError

from services.runtime.clock import utc_now
from services.runtime.ends import stage_ends
from services.runtime.json import encode_json
from services.runtime.log import RAW, Log, OffsetGone
from services.runtime.log_kafka import KafkaLog
from services.runtime.partitions_kafka import WrongPartitions, check_partitions
from services.runtime.postgres import DATABASE_AWAY, connect
from services.runtime.run_file import environment_of
from services.runtime.settings import Settings, settings_or_exit

WATCH_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Lag:
    """One stage on one partition. Offsets are raw offsets, `end` exclusive."""

    stage: str
    partition: int
    end: int  # where the stage could be: what the stage before it has finished
    position: int  # where it is: the next raw offset it expects
    records: int
    milliseconds: int  # how long the oldest event it has not taken has waited since ingest


async def collect(log: Log, positions: dict[int, int], partitions: int) -> list[Lag]:
    """The lag of every stage; `positions`: partition -> next raw offset of the projector."""
    lags: list[Lag] = []
    for partition in range(partitions):
        ends = await stage_ends(log, partition)
        judged = ends.raw_start if ends.unique is None else ends.unique.last + 1
        rated = ends.raw_start if ends.rated is None else ends.rated.last + 1
        projected = positions.get(partition, ends.raw_start)
        stages = (
            ("dedup", ends.raw_end, judged),
            ("rating", judged, rated),
            ("projector", rated, projected),
        )
        lags += [
            Lag(stage, partition, max(stage_end, at), at, max(stage_end - at, 0), waited)
            for stage, stage_end, at in stages
            for waited in [await _waited_ms(log, partition, at) if stage_end > at else 0]
        ]
    return lags


async def _waited_ms(log: Log, partition: int, offset: int) -> int:
    try:
        waiting = await log.read(RAW, partition, offset)
    except (
        OffsetGone
    ) as gone:  # the stage will halt there; what is left has waited at least so long
        waiting = await log.read(RAW, partition, gone.start)
    if not waiting:
        return 0
    now_ms = int(utc_now().timestamp() * 1000)
    return max(now_ms - waiting[0].timestamp_ms, 0)


def table(lags: list[Lag]) -> str:
    """The lags as text, a summary line a stage first."""
    header = (
        f"{'stage':<10} {'partition':>9} {'end':>12} {'position':>12} {'lag':>10} {'seconds':>9}"
    )
    lines = [header]
    stages = dict.fromkeys(lag.stage for lag in lags)
    for stage in stages:
        own = [lag for lag in lags if lag.stage == stage]
        lines += [
            f"{stage:<10} {lag.partition:>9} {lag.end:>12} {lag.position:>12} {lag.records:>10}"
            f" {lag.milliseconds / 1000:>9.3f}"
            for lag in own
        ]
        lines.append(
            f"{stage:<10} {'all':>9} {sum(lag.end for lag in own):>12}"
            f" {sum(lag.position for lag in own):>12} {sum(lag.records for lag in own):>10}"
            f" {max(lag.milliseconds for lag in own) / 1000:>9.3f}"
        )
    return "\n".join(lines) + "\n"


def as_json(lags: list[Lag]) -> str:
    """The lags as one line of JSON: {"lag": [{stage, partition, end, position, records, ...}]}."""
    return encode_json({"lag": [asdict(lag) for lag in lags]}).decode() + "\n"


async def measure(settings: Settings) -> list[Lag]:
    """Connect, collect once, disconnect; raises what the servers raise."""
    log = KafkaLog(
        settings.kafka_bootstrap_servers,
        "tollgate-lag",
        partitions=settings.partitions,
        read_only=True,
    )
    await log.start()
    try:
        connection = await connect(settings.database_url)
        try:
            # Before the topics, or a projector at work would seem to be ahead of them.
            positions = await _positions(connection)
            return await collect(log, positions, settings.partitions)
        finally:
            await connection.close()
    finally:
        await log.stop()


async def _positions(connection: asyncpg.Connection) -> dict[int, int]:
    rows = await connection.fetch(
        "SELECT partition, next_raw_offset FROM projection_position"
        " WHERE generation = (SELECT generation FROM live_generation)"
    )
    return {row["partition"]: row["next_raw_offset"] for row in rows}


async def _show(settings: Settings, *, json: bool, watch: bool) -> None:
    await check_partitions(settings.kafka_bootstrap_servers, settings.partitions)
    while True:
        lags = await measure(settings)
        if watch and not json:
            sys.stdout.write("\x1b[2J\x1b[H")
        sys.stdout.write(as_json(lags) if json else table(lags))
        sys.stdout.flush()
        if not watch:
            return
        await asyncio.sleep(WATCH_EVERY_S)


def main(argv: list[str]) -> int:
    """Entry."""
    parser = argparse.ArgumentParser(prog="tollgate lag", description=__doc__)
    parser.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--data-dir", help="of a running `tollgate up` (else from the environment)")
    arguments = parser.parse_args(argv)
    settings = settings_or_exit(environment_of(arguments.data_dir), [])
    try:
        asyncio.run(_show(settings, json=arguments.json, watch=arguments.watch))
    except (KafkaError, *DATABASE_AWAY) as error:
        sys.stderr.write(f"the lag cannot be read: {error!r}\n")
        return 1
    except WrongPartitions as wrong:
        sys.stderr.write(f"the lag cannot be read: {wrong}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0
