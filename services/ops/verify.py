"""`tollgate verify`: whether every event accepted is accounted for, by partition; with --deep,
whether every aggregate and draft is what the log says. Only reads.

Exit status: 0 when everything adds up, 1 when something does not, 2 when it could not be looked at.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass

from aiokafka.errors import KafkaError

from services.ops.verify_deep import Deep, verify_deep
from services.ops.verify_fold import CannotFold
from services.ops.verify_show import as_text, deep_as_text, deep_document
from services.runtime.conservation import Report, as_document, read_projected, report_of
from services.runtime.json import encode_json
from services.runtime.log import OffsetGone
from services.runtime.log_kafka import KafkaLog
from services.runtime.partitions_kafka import WrongPartitions, check_partitions
from services.runtime.postgres import DATABASE_AWAY, connect
from services.runtime.records import UnknownFormat
from services.runtime.run_file import environment_of
from services.runtime.settings import Settings, settings_or_exit

ADDS_UP, DIFFERS, UNKNOWN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found. `cannot_fold`: why the log could not be folded, when it was asked for."""

    report: Report
    deep: Deep | None = None
    cannot_fold: str | None = None

    @property
    def status(self) -> int:
        """The exit status."""
        if not self.report.adds_up or (self.deep is not None and not self.deep.agrees):
            return DIFFERS
        return ADDS_UP if self.cannot_fold is None else UNKNOWN


async def verify(settings: Settings, *, deep: bool) -> Verified:
    """Connect, look once, disconnect; raises WrongPartitions and what the servers raise."""
    await check_partitions(settings.kafka_bootstrap_servers, settings.partitions)
    log = KafkaLog(
        settings.kafka_bootstrap_servers,
        "tollgate-verify",
        partitions=settings.partitions,
        read_only=True,
    )
    try:
        await log.start()
        connection = await connect(settings.database_url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                generation, projected = await read_projected(connection, with_rows=True)
            # The database first, then the topics: see `services.runtime.conservation`.
            report = await report_of(log, generation, projected, settings.partitions)
            if not deep:
                return Verified(report)
            return Verified(report, await verify_deep(log, connection, settings.partitions))
        except CannotFold as gone:
            return Verified(report, cannot_fold=str(gone))
        finally:
            await connection.close()
    finally:
        await log.stop()


def main(argv: list[str]) -> int:
    """Entry."""
    parser = argparse.ArgumentParser(prog="tollgate verify", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="fold the whole log again and compare every aggregate and draft with it",
    )
    parser.add_argument("--data-dir", help="of a running `tollgate up` (else from the environment)")
    arguments = parser.parse_args(argv)
    settings = settings_or_exit(environment_of(arguments.data_dir), [])
    try:
        verified = asyncio.run(verify(settings, deep=arguments.deep))
    except (KafkaError, *DATABASE_AWAY) as error:
        sys.stderr.write(f"nothing was verified, a server cannot be reached: {error!r}\n")
        return UNKNOWN
    except WrongPartitions as wrong:
        sys.stderr.write(f"nothing was verified: {wrong}\n")
        return UNKNOWN
    except OffsetGone as gone:
        sys.stderr.write(f"nothing was verified: {gone}, since a moment ago; look again\n")
        return UNKNOWN
    except UnknownFormat as foreign:
        sys.stderr.write(f"nothing was verified: {foreign}; the topics may be mixed up\n")
        return UNKNOWN
    except KeyboardInterrupt:
        return UNKNOWN
    sys.stdout.write(_json(verified) if arguments.json else _text(verified))
    if verified.cannot_fold is not None:
        sys.stderr.write(f"the log cannot be folded: {verified.cannot_fold}\n")
    return verified.status


def _json(verified: Verified) -> str:
    document = as_document(verified.report)
    if verified.deep is not None:
        document["deep"] = deep_document(verified.deep)
    return encode_json(document).decode() + "\n"


def _text(verified: Verified) -> str:
    deep = "" if verified.deep is None else deep_as_text(verified.deep)
    return as_text(verified.report) + deep
