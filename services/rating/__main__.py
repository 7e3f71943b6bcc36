"""Start of the rating stage. Composition only."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import uvloop

from services.rating.agent import make_app
from services.rating.catalog_postgres import PostgresCatalogSource
from services.rating.step import RatingStep
from services.runtime.log_kafka import KafkaLog
from services.runtime.postgres import connect_pool
from services.runtime.process import first_of, notify_ready, run_stage
from services.runtime.settings import Settings

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 5


async def rating(settings: Settings, stopping: asyncio.Event) -> None:
    """Run until `stopping`; raises what the world raises."""
    pool = await connect_pool(settings.database_url, size_max=2)
    log = KafkaLog(
        settings.kafka_bootstrap_servers, "tollgate-rating", partitions=settings.partitions
    )
    step = RatingStep(log, PostgresCatalogSource(pool))
    app = make_app(
        settings.kafka_bootstrap_servers, settings.partitions, settings.instance_id, step
    )
    assigned = asyncio.Event()

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]  # no types
    async def note(*_: object, **__: object) -> None:
        assigned.set()

    try:
        await log.start()
        await app.start()
        await watch(app, assigned, stopping, lambda: notify_ready(settings))
    finally:
        await _stop(app, exit_status=0 if stopping.is_set() else 1)
        await log.stop()
        await pool.close()


async def watch(
    app: Any, assigned: asyncio.Event, stopping: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Until `stopping`; calls `ready` once partitions were assigned. Raises RuntimeError when
    Faust stops by itself, be it before that."""
    await first_of(assigned.wait(), app.wait_until_stopped(), stopping.wait())
    if assigned.is_set():
        ready()
    await first_of(app.wait_until_stopped(), stopping.wait())
    if not stopping.is_set():
        raise RuntimeError("Faust stopped by itself; see the lines above")


async def _stop(app: Any, exit_status: int) -> None:
    """Faust can wait for ever on its consumer thread, in the middle of a rebalance for one. All
    that was rated is acknowledged, so after a moment the process may just end."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await app.stop()
    except TimeoutError:
        logger.warning("Faust did not stop within %d s; ending the process", STOP_TIMEOUT_S)
        logging.shutdown()
        os._exit(exit_status)


def main(argv: list[str]) -> int:
    """Entry of `tollgate rating`."""
    # Faust reads in a thread of its own, whose loop comes from the policy.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return run_stage("rating", rating, argv)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
