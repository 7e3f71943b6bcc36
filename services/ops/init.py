"""`tollgate init`: creates the topics and migrates the database; safe to run again any time."""

import argparse
import asyncio
import os
import sys

from aiokafka.errors import KafkaError

from services.runtime.migrate import migrate
from services.runtime.postgres import DATABASE_AWAY
from services.runtime.settings import Settings, settings_or_exit
from services.runtime.topics import TopicError, ensure_topics


async def init(settings: Settings) -> None:
    """Topics and tables as the settings say; raises TopicError or what the servers raise."""
    await ensure_topics(
        settings.kafka_bootstrap_servers,
        partitions=settings.partitions,
        replication_factor=settings.replication_factor,
        raw_retention_days=settings.raw_retention_days,
    )
    for name in await migrate(settings.database_url):
        sys.stdout.write(f"migrated {name}\n")


def main(argv: list[str]) -> int:
    """Entry."""
    argparse.ArgumentParser(prog="tollgate init", description=__doc__).parse_args(argv)
    try:
        asyncio.run(init(settings_or_exit(os.environ, [])))
    except (KafkaError, TopicError, *DATABASE_AWAY) as error:
        sys.stderr.write(f"not initialised: {error}\n")
        return 1
    sys.stdout.write("topics and tables are ready\n")
    return 0
