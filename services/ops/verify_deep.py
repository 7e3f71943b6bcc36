"""`tollgate verify --deep`: folds the log with the oracle up to the projector's positions and
compares everything that PostgreSQL made of it. One snapshot of the database; never writes.
"""

import asyncio
from dataclasses import dataclass

import asyncpg

from services.ops.verify_catalog import read_billing
from services.ops.verify_differences import Difference, Differences
from services.ops.verify_distinct import compare_distinct
from services.ops.verify_drafts import compare_drafts
from services.ops.verify_fold import Catalogs, Folded, fold_partition
from services.ops.verify_usage import (
    compare_conflicts,
    compare_fates,
    compare_refusals,
    compare_totals,
    hours_of,
    months_of,
)
from services.runtime.clock import utc_now
from services.runtime.conservation import read_projected
from services.runtime.log import RATED, Log
from services.runtime.metric_rows import read_history

# Drafts are priced a moment after their usage is projected: wait so long for that.
PRICING_WAIT_S = 5.0
PRICING_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Deep:
    """What was folded and compared."""

    sources: dict[int, str]  # partition -> which topic was folded, and why
    events: int
    aggregates: int
    drafts: int
    finalized: int  # invoices
    pending: int  # drafts with a mark that pricing has not taken yet; not compared
    difference_count: int
    differences: tuple[Difference, ...]  # the first ones

    @property
    def agrees(self) -> bool:
        """Whether the database is what the log says."""
        return self.difference_count == 0


async def verify_deep(log: Log, connection: asyncpg.Connection, partitions: int) -> Deep:
    """Fold and compare; raises CannotFold, and what the servers raise."""
    await _until_priced(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        generation, projected = await read_projected(connection, with_rows=False)
        catalogs = await _catalogs(connection, generation)
        folded = Folded()
        for partition, held in sorted(projected.items()):
            await fold_partition(log, partition, held, catalogs, partitions=partitions, into=folded)
        differences = Differences()
        compare_fates(folded, projected, differences)
        await compare_refusals(connection, generation, folded, differences)
        await compare_conflicts(connection, generation, folded, differences)
        hours, months = hours_of(folded.usage), months_of(folded.usage)
        for table, expected in (("usage_hour", hours), ("usage_month", months)):
            await compare_totals(connection, generation, table, expected, differences)
        await compare_distinct(connection, generation, hours, differences)
        billing = await read_billing(connection)
        compared = await compare_drafts(connection, folded.usage, billing, utc_now(), differences)
    explain_older(folded, catalogs.floor, differences)
    return Deep(
        sources=folded.sources,
        events=sum(held.next_raw - held.first_raw for held in projected.values()),
        aggregates=len(hours) + len(months),
        drafts=compared.drafts,
        finalized=compared.finalized,
        pending=compared.pending,
        difference_count=differences.count,
        differences=tuple(differences.first),
    )


async def _catalogs(connection: asyncpg.Connection, generation: int) -> Catalogs:
    row = await connection.fetchrow(
        "SELECT catalog_version, promoted_at FROM generation WHERE id = $1", generation
    )
    promoted = row["promoted_at"]
    promoted_ms = None if promoted is None else int(promoted.timestamp() * 1000)
    return Catalogs(await read_history(connection), row["catalog_version"], promoted_ms)


def explain_older(folded: Folded, floor: int, differences: Differences) -> None:
    """Names the ranges that a rater which slept through a promotion rated, when there are
    differences: where its catalog counts the same as the newer one, nothing is wrong."""
    if not differences.count:
        return
    for older in reversed(folded.older):
        differences.explain(
            f"{RATED}, partition {older.partition}, raw offsets {older.first} to {older.last}",
            f"counted under catalog version {floor} or newer, as the rest of the generation",
            f"rated under version {older.catalog_version} and counted so, after the generation"
            " was promoted; a new replay repairs it",
        )


async def _until_priced(connection: asyncpg.Connection) -> None:
    """Until no draft has a mark, or traffic has made new ones for too long."""
    for _ in range(int(PRICING_WAIT_S / PRICING_POLL_S)):
        if not await connection.fetchval(
            "SELECT EXISTS (SELECT FROM stale_draft) OR EXISTS (SELECT FROM late_mark)"
        ):
            return
        await asyncio.sleep(PRICING_POLL_S)
