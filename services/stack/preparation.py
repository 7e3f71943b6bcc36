"""What the servers need before the stages can work: the schema, the topics and the admin token.

Makes only what is missing. The only file of this package that knows the rest of Tollgate.
"""

from collections.abc import Coroutine, Mapping
from typing import Any

from services.runtime.migrate import migrate
from services.runtime.settings import SettingsError, read_settings
from services.runtime.tokens import ensure_token
from services.runtime.topics import ensure_topics
from services.stack.console import Announce, Stopwatch
from services.stack.errors import StackError, StackSettingsError

ADMIN = "admin"


async def prepare_servers(environ: Mapping[str, str], token: str, announce: Announce) -> None:
    """Make the three, in order; raises StackError that says which failed."""
    try:
        settings = read_settings(environ)
    except SettingsError as error:
        raise StackSettingsError(str(error)) from error
    database_url = settings.database_url
    await _step(announce, "postgres", "schema", migrate(database_url))
    topics = ensure_topics(
        settings.kafka_bootstrap_servers,
        partitions=settings.partitions,
        replication_factor=settings.replication_factor,
        raw_retention_days=settings.raw_retention_days,
    )
    await _step(announce, "kafka", "topics", topics)
    await _step(announce, "postgres", "admin token", ensure_token(database_url, ADMIN, token))


async def _step(
    announce: Announce, name: str, what: str, work: Coroutine[Any, Any, object]
) -> None:
    stopwatch = Stopwatch()
    try:
        await work
    except Exception as error:  # of whatever kind: the start ends, and this says at which step
        raise StackError(
            f"the {what} could not be made in {name}: {type(error).__name__}: {error}"
        ) from error
    announce(name, f"{what} in place ({stopwatch})")
