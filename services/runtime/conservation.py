"""Reads what conservation is about: the positions and counters in PostgreSQL, and then the ends of
the topics. Decides nothing; `services.domain.conservation` does.

The database is read first, then each topic after the one that is made from it: what goes on
meanwhile can only make more in flight, never less than none.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from uuid import UUID

import asyncpg

from services.domain.conservation import (
    Account,
    Ends,
    Problem,
    Projected,
    Rows,
    account,
    not_a_partition,
)
from services.runtime.ends import StageEnds, stage_ends
from services.runtime.log import RATED, RAW, UNIQUE, Log
from services.runtime.records import decode_rated_head, decode_unique

_POSITIONS = """
SELECT partition, first_raw_offset AS first_raw, next_raw_offset AS next_raw,
    next_rated_offset AS next_rated, counted, duplicates, conflicts, rejected, unmatched
FROM projection_position WHERE generation = $1
"""
# Reads every row there is of the two tables: seconds for a million of them.
_ROWS = """
SELECT p.partition, r.refused_by_dedup, r.refused_by_metrics, r.refused_outside, c.conflict_rows,
    c.conflicts_outside
FROM projection_position p,
LATERAL (SELECT
    count(*) FILTER (WHERE e.metric_id = $2) AS refused_by_dedup,
    count(DISTINCT e.raw_offset) FILTER (WHERE e.metric_id <> $2) AS refused_by_metrics,
    count(*) FILTER (WHERE e.raw_offset < p.first_raw_offset OR e.raw_offset >= p.next_raw_offset)
      AS refused_outside
  FROM rejected_event e WHERE e.generation = p.generation AND e.partition = p.partition) AS r,
LATERAL (SELECT
    count(*) AS conflict_rows,
    count(*) FILTER (WHERE e.raw_offset < p.first_raw_offset OR e.raw_offset >= p.next_raw_offset)
      AS conflicts_outside
  FROM conflicting_event e WHERE e.generation = p.generation AND e.partition = p.partition) AS c
WHERE p.generation = $1
"""
_NO_METRIC = UUID(int=0)  # of a rejection that no metric made
_LIVE = "SELECT generation FROM live_generation"
# Of a billion rows too, when somebody asks for it.
ROWS_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Report:
    """Every partition's account, of the generation that is live."""

    generation: int
    accounts: tuple[Account, ...]
    strays: tuple[Problem, ...]  # positions of partitions that are not there

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong."""
        return (*(found for each in self.accounts for found in each.problems), *self.strays)

    @property
    def adds_up(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


async def read_projected(
    connection: asyncpg.Connection, *, with_rows: bool
) -> tuple[int, dict[int, Projected]]:
    """The live generation and what it says of every partition. All of one moment when the caller's
    transaction is REPEATABLE READ. `with_rows`: also count the rows of rejected and conflicting
    events, which takes longer the more of them there ever were."""
    generation: int = await connection.fetchval(_LIVE)
    rows = await _read_rows(connection, generation) if with_rows else {}
    held: dict[int, Projected] = {}
    for row in await connection.fetch(_POSITIONS, generation):
        columns = dict(row)
        partition = columns.pop("partition")
        held[partition] = Projected(**columns, rows=rows.get(partition))
    return generation, held


async def _read_rows(connection: asyncpg.Connection, generation: int) -> dict[int, Rows]:
    found: dict[int, Rows] = {}
    for row in await connection.fetch(_ROWS, generation, _NO_METRIC, timeout=ROWS_TIMEOUT_S):
        columns = dict(row)
        partition = columns.pop("partition")
        found[partition] = Rows(**columns)
    return found


async def read_ends(log: Log, partition: int, projected: Projected | None) -> Ends:
    """What the log says of a partition; `projected` was read before. Raises what the log raises."""
    applied = await _applied(log, partition, projected)
    rated_first = await _first(log, RATED, partition)
    unique_first = await _first(log, UNIQUE, partition)
    ends = await stage_ends(log, partition)
    return Ends(
        raw_start=ends.raw_start,
        raw_end=ends.raw_end,
        judged=None if ends.unique is None else ends.unique.last + 1,
        rated=None if ends.rated is None else ends.rated.last + 1,
        unique_first=None if unique_first is None else decode_unique(unique_first, UNIQUE).first,
        rated_first=None if rated_first is None else decode_rated_head(rated_first, RATED).first,
        raw_is_the_same=await _same(log, partition, ends),
        applied=applied,
    )


async def _first(log: Log, topic: str, partition: int) -> bytes | None:
    """The record with which a topic began; None when it has none or no longer has it."""
    start, end = await log.bounds(topic, partition)
    return (await log.read(topic, partition, 0))[0].value if start == 0 < end else None


async def _applied(log: Log, partition: int, projected: Projected | None) -> int | None:
    if projected is None:
        return None
    start, end = await log.bounds(RATED, partition)
    offset = projected.next_rated - 1
    if not start <= offset < end:
        return None
    record = (await log.read(RATED, partition, offset))[0]
    return decode_rated_head(record.value, f"{RATED}[{partition}]@{offset}").last + 1


async def _same(log: Log, partition: int, ends: StageEnds) -> bool | None:
    """Whether the last raw record that dedup judged has the time that usage.unique has noted."""
    if ends.unique is None or not ends.raw_start <= ends.unique.last < ends.raw_end:
        return None
    record = (await log.read(RAW, partition, ends.unique.last))[0]
    return record.timestamp_ms == ends.unique.ingested_to_ms


async def report_of(
    log: Log, generation: int, projected: Mapping[int, Projected], partitions: int
) -> Report:
    """Every partition's account; `projected` was read before this is called."""
    accounts = [
        account(partition, await read_ends(log, partition, held), held)
        for partition in range(partitions)
        for held in [projected.get(partition)]
    ]
    strays = [not_a_partition(p, partitions) for p in sorted(projected) if p >= partitions]
    return Report(generation, tuple(accounts), tuple(strays))


def as_document(report: Report) -> dict[str, object]:
    """The report as `tollgate verify --json` and GET /v1/tollgate/verify have it."""
    fates = ("accepted", "counted", "duplicates", "conflicts", "rejected", "unmatched")
    return {
        "adds_up": report.adds_up,
        "generation": report.generation,
        "total": {
            **{name: sum(getattr(each, name) for each in report.accounts) for name in fates},
            "in_flight": sum(each.in_flight.total for each in report.accounts),
            "difference": sum(each.difference for each in report.accounts),
        },
        "partitions": [
            {
                "partition": each.partition,
                **{name: getattr(each, name) for name in fates},
                "in_flight": asdict(each.in_flight),
                "difference": each.difference,
            }
            for each in report.accounts
        ],
        "problems": [
            {
                "kind": found.kind.value,
                "partition": found.partition,
                "what": found.what,
                "to_do": found.to_do,
            }
            for found in report.problems
        ],
    }
