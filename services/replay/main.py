"""`tollgate replay`: counts the log again beside the live count, compares, promotes, rolls back.

The command line only. Exit status: 0 done; `diff` 1 when invoices differ; 2 when it could not be
done, with a line that says why.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from services.dedup.index_redis import EvictingRedis
from services.domain.chain import ChainBroken
from services.projector.projection import GenerationDropped
from services.replay.generations import GenerationError, Source
from services.replay.progress import Progress
from services.replay.report import diff_json, diff_text, status_json, status_rows, status_text
from services.replay.session import Session, open_session
from services.runtime.log import OffsetGone
from services.runtime.partitions_kafka import WrongPartitions
from services.runtime.postgres import DATABASE_AWAY
from services.runtime.records import UnknownFormat
from services.runtime.run_file import environment_of
from services.runtime.settings import settings_or_exit

SAME, DIFFERENT, FAILED = 0, 1, 2
_FAULTS = (
    GenerationError, GenerationDropped, ChainBroken, OffsetGone, UnknownFormat, EvictingRedis,
    WrongPartitions, KafkaError, RedisError, *DATABASE_AWAY,
)  # fmt: skip

Action: TypeAlias = Callable[[Session, argparse.Namespace], Awaitable[int]]


async def _start(session: Session, arguments: argparse.Namespace) -> int:
    generation = await session.start(Source(arguments.source), Progress())
    return _filled(generation.id)


async def _resume(session: Session, arguments: argparse.Namespace) -> int:
    generation = await session.resume(arguments.generation, Progress())
    return _filled(generation.id)


def _filled(generation: int) -> int:
    sys.stdout.write(
        f"generation {generation} is counted; next: `tollgate replay diff {generation}`, then"
        f" `tollgate replay promote {generation}` or `tollgate replay drop {generation}`\n"
    )
    return SAME


async def _status(session: Session, arguments: argparse.Namespace) -> int:
    generations = await session.generations.all()
    positions = {g.id: await session.generations.positions(g.id) for g in generations}
    rows = status_rows(generations, positions, await session.generations.live())
    sys.stdout.write(status_json(rows) if arguments.json else status_text(rows))
    return SAME


async def _diff(session: Session, arguments: argparse.Namespace) -> int:
    comparison = await session.diff(arguments.generation, Progress())
    sys.stdout.write(diff_json(comparison) if arguments.json else diff_text(comparison))
    return DIFFERENT if comparison.differences else SAME


async def _promote(session: Session, arguments: argparse.Namespace) -> int:
    before = await session.promote(arguments.generation, Progress())
    sys.stdout.write(
        f"generation {arguments.generation} is live; `tollgate replay rollback` goes back to"
        f" {before}\n"
    )
    return SAME


async def _rollback(session: Session, arguments: argparse.Namespace) -> int:
    generation = await session.rollback(Progress())
    sys.stdout.write(f"generation {generation} is live again\n")
    return SAME


async def _drop(session: Session, arguments: argparse.Namespace) -> int:
    await session.drop(arguments.generation)
    sys.stdout.write(f"generation {arguments.generation} is dropped\n")
    return SAME


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tollgate replay", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, action: Action, help_text: str, *, numbered: bool
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text)
        added.set_defaults(action=action)
        added.add_argument("--data-dir", help="of a running `tollgate up`")
        if numbered:
            added.add_argument("generation", type=int, metavar="GENERATION")
        return added

    start = command("start", _start, "count the log into a new generation", numbered=False)
    start.add_argument(
        "--all", action="store_true", required=True, help="the whole log (the one scope there is)"
    )
    start.add_argument(
        "--from",
        dest="source",
        choices=[Source.UNIQUE.value, Source.RAW.value],
        default=Source.UNIQUE.value,
        help="unique: take dedup's verdicts; raw: deduplicate afresh (default: unique)",
    )
    command("resume", _resume, "go on with a replay that was stopped", numbered=True)
    status = command("status", _status, "the generations and how far they are", numbered=False)
    diff = command("diff", _diff, "compare with the live generation", numbered=True)
    for shown in (status, diff):
        shown.add_argument("--json", action="store_true", help="one line of JSON")
    command("promote", _promote, "make it the live one", numbered=True)
    command("rollback", _rollback, "back to what was live before", numbered=False)
    command("drop", _drop, "delete it", numbered=True)
    return parser


def main(argv: list[str]) -> int:
    """Entry."""
    arguments = _parser().parse_args(argv)
    settings = settings_or_exit(environment_of(arguments.data_dir), [])

    async def run() -> int:
        async with open_session(settings) as session:
            status: int = await arguments.action(session, arguments)
            return status

    try:
        return asyncio.run(run())
    except _FAULTS as fault:
        sys.stderr.write(f"the replay cannot go on: {str(fault) or repr(fault)}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("stopped; `tollgate replay status` shows what is there to resume\n")
        return FAILED
