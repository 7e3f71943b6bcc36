"""The Faust app: one agent that hands each usage.unique record to the rating step.

Faust would ack an event even when its agent raised, and its commit can step over a record that was
not acked; so acks are our own, and any exception here ends the process at once, before the next.
"""

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import faust
from aiokafka.errors import KafkaError

from services.domain.chain import ChainBroken
from services.rating.step import RatingStep
from services.runtime.failpoint import reach
from services.runtime.log import UNIQUE, Record

logger = logging.getLogger(__name__)

GROUP = "tollgate-rating"
_EXIT_FAILURE = 1
# Records that are rated at the same time; each takes at most some tens of MB meanwhile.
UNDER_WAY_MAX = 8
# Three small requests a partition.
CHECK_EVERY_S = 10.0


def make_app(
    bootstrap_servers: str, partitions: int, instance_id: str | None, step: RatingStep
) -> Any:
    """A Faust app whose agent feeds `step`; the caller starts and stops it. `instance_id`: of a
    static member of the group (TOLLGATE_INSTANCE_ID), or None."""
    app = _app(bootstrap_servers, partitions, instance_id)
    source = app.topic(
        UNIQUE, value_type=bytes, key_type=bytes, value_serializer="raw", key_serializer="raw"
    )

    # Set once every partition that was given is open. Faust may deliver before that, and the step
    # drops what is not open: it would only be rated when the next record of its partition came.
    opened = asyncio.Event()

    @app.agent(source, concurrency=1, name="rating")  # type: ignore[untyped-decorator]  # no types
    async def rating(stream: Any) -> None:
        # While one record waits for Kafka or PostgreSQL, those of other partitions are folded; the
        # step keeps those of one partition in order.
        free = asyncio.Semaphore(UNDER_WAY_MAX)
        async with asyncio.TaskGroup() as under_way:  # ends with the agent
            async for event in stream.noack().events():
                reach("after_poll")
                await free.acquire()
                task = under_way.create_task(_rate(step, event, opened))
                task.add_done_callback(lambda _: free.release())

    @app.timer(interval=CHECK_EVERY_S)  # type: ignore[untyped-decorator]  # no types
    async def check() -> None:
        """Faust goes to the earliest record by itself when the topic was made anew, and then drops
        what lies below the offset it had reached: only a look at the topic shows it."""
        try:
            await step.check_sources()
        except KafkaError as error:
            logger.warning("usage.unique could not be looked at: %r", error)
        except Exception:  # noqa: BLE001 (the process ends there)
            _end_at_once()

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]  # no types
    async def resume(_app: Any, assigned: Any, **_: Any) -> None:
        """Faust seeks to the committed offsets after this signal, or beside it: make them our
        checkpoint."""
        opened.clear()
        try:
            offsets = {}
            for place in sorted(place for place in assigned if place.topic == UNIQUE):
                try:
                    offsets[place] = await step.open(place.partition)
                except ChainBroken as broken:  # the step takes nothing of it; the others go on
                    logger.error("%s", broken)
            if offsets:
                await app.consumer._commit(offsets)  # Faust offers no other way
        except Exception:  # noqa: BLE001 (the process ends there)
            _end_at_once()
        opened.set()
        logger.info("rates partitions %s", sorted(place.partition for place in offsets))

    return app


async def _rate(step: RatingStep, event: Any, opened: asyncio.Event) -> None:
    message = event.message
    record = Record(message.partition, message.offset, 0, message.key, bytes(message.value))
    await opened.wait()
    try:
        await step.process(record)
    except Exception:  # noqa: BLE001 (the process ends there)
        _end_at_once()
    event.ack()


def _app(bootstrap_servers: str, partitions: int, instance_id: str | None) -> Any:
    brokers = ";".join(f"kafka://{server.strip()}" for server in bootstrap_servers.split(","))
    return faust.App(
        GROUP,
        broker=brokers,
        topic_partitions=partitions,
        topic_disable_leader=True,
        web_enabled=False,
        # Faust makes this folder; nothing is ever kept in it. One for each user of the machine.
        datadir=Path(tempfile.gettempdir()) / f"tollgate-rating-{os.getuid()}",
        store="memory://",
        consumer_group_instance_id=instance_id,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        # Batches are large; a few of them ahead are enough and keep memory bounded.
        stream_buffer_maxsize=32,
        broker_max_poll_records=64,
    )


def _end_at_once() -> None:
    logger.exception("rating ends; it resumes from usage.rated when it is started again")
    logging.shutdown()
    os._exit(_EXIT_FAILURE)
