"""Start of the projector. Composition only."""

import asyncio
import sys
from datetime import timedelta
from functools import partial

from services.projector.drafts_postgres import PostgresDrafts
from services.projector.finalizer import Finalizer
from services.projector.finals_postgres import PostgresFinals
from services.projector.pricer import Pricer
from services.projector.projection_postgres import PostgresProjection
from services.projector.step import ProjectorStep
from services.runtime.clock import utc_now
from services.runtime.consumer_kafka import KafkaConsumer
from services.runtime.log import RATED
from services.runtime.log_kafka import KafkaLog
from services.runtime.postgres import PLANNED_EACH_TIME, connect_pool
from services.runtime.process import first_of, notify_ready, run_stage
from services.runtime.settings import Settings
from services.runtime.worker import Worker

# Ranges merged into one transaction when there is a backlog: the more, the fewer row updates.
RECORDS_MAX = 200
# Under load, from poll to poll: ranges that come together update a row once. Half of dedup's, for
# its ranges come some at a time.
PACE_S = 0.05
# Whoever is paused in the middle of a flush has the turn of all; a loop that stands still as long
# ends its process anyway.
SESSION = {**PLANNED_EACH_TIME, "idle_in_transaction_session_timeout": "20s"}


async def projector(settings: Settings, stopping: asyncio.Event) -> None:
    """Run until `stopping`; raises what the world raises."""
    pool = await connect_pool(settings.database_url, size_max=6, settings=SESSION)
    pricer = Pricer(PostgresDrafts(pool), utc_now)
    log = KafkaLog(
        settings.kafka_bootstrap_servers,
        "tollgate-projector",
        partitions=settings.partitions,
        read_only=True,
    )
    finalizer = Finalizer(
        PostgresFinals(pool),
        log,
        utc_now,
        grace=timedelta(hours=settings.grace_hours),
        partitions=settings.partitions,
    )
    worker = Worker(
        KafkaConsumer(
            settings.kafka_bootstrap_servers,
            topic=RATED,
            group="tollgate-projector",
            instance_id=settings.instance_id,
        ),
        topic=RATED,
        records_max=RECORDS_MAX,
        step=ProjectorStep(log, PostgresProjection(pool), pricer.wake),
        partitions=settings.partitions,
        pace_s=PACE_S,
        ready=partial(notify_ready, settings),
    )
    try:
        await log.start()
        await worker.start()
        await first_of(worker.run(stopping), pricer.run(), finalizer.run())
    finally:
        await worker.stop()
        await log.stop()
        await pool.close()


def main(argv: list[str]) -> int:
    """Entry of `tollgate projector`."""
    return run_stage("projector", projector, argv)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
