"""Start of the dedup stage. Composition only."""

import asyncio
import logging
import sys
from functools import partial

from redis.asyncio import Redis

from services.dedup.index_redis import RedisSeenIndex
from services.dedup.step import DedupStep
from services.runtime.consumer_kafka import KafkaConsumer
from services.runtime.log import RAW
from services.runtime.log_kafka import KafkaLog, cluster_namespace
from services.runtime.process import notify_ready, run_stage
from services.runtime.records_kafka import hand_out_own_records
from services.runtime.settings import Settings
from services.runtime.worker import Worker

logger = logging.getLogger(__name__)

# Of a partition and poll: some ranges, so that all partitions have their part of each poll and are
# worked on side by side. The limit by count is for what others write small or compressed: a worker
# that was paused writes again no more ranges than `ends.py` and `search.py` look back over.
FETCH_BYTES = 1024 * 1024
RECORDS_MAX = 40_000
# Under load, from poll to poll: a range of some hundred events costs little more than one of ten.
PACE_S = 0.1
# Longer than any script takes; a Redis that does not answer by then ends the process.
REDIS_TIMEOUT_S = 10


async def dedup(settings: Settings, stopping: asyncio.Event) -> None:
    """Run until `stopping`; raises what the world raises."""
    hand_out_own_records()
    redis = Redis.from_url(settings.redis_url, socket_timeout=REDIS_TIMEOUT_S)
    namespace = await cluster_namespace(settings.kafka_bootstrap_servers)
    index = RedisSeenIndex(redis, namespace)
    log = KafkaLog(
        settings.kafka_bootstrap_servers, "tollgate-dedup", partitions=settings.partitions
    )
    step = DedupStep(log, index, settings.partitions)
    worker = Worker(
        KafkaConsumer(
            settings.kafka_bootstrap_servers,
            topic=RAW,
            group="tollgate-dedup",
            instance_id=settings.instance_id,
            fetch_bytes=FETCH_BYTES,
        ),
        topic=RAW,
        records_max=RECORDS_MAX,
        step=step,
        partitions=settings.partitions,
        pace_s=PACE_S,
        ready=partial(notify_ready, settings),
    )
    try:
        await index.check_eviction()
        if await index.drop_older(settings.partitions):
            logger.warning("the index of an older version was removed; it is restored from the log")
        await log.start()
        await worker.start()
        await worker.run(stopping)
    finally:
        await worker.stop()
        await log.stop()
        await redis.aclose()


def main(argv: list[str]) -> int:
    """Entry of `tollgate dedup`."""
    return run_stage("dedup", dedup, argv)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
