"""What the invoices would be with a generation that is not live, priced with the projector's own
code. Writes generation_draft only, never an invoice.
"""

from collections.abc import Sequence

import asyncpg

from services.domain.pricing.book import CreditBook
from services.projector.documents_postgres import documents_of
from services.projector.live_postgres import check_kept
from services.replay.credits_postgres import with_credits
from services.replay.targets_postgres import Target, read_targets
from services.runtime.customer_terms import TermsShelf

# Drafts priced and written by one statement.
CHUNK = 1_000

_WRITE = """
INSERT INTO generation_draft (generation, customer_plan_id, customer_id, starts_at, ends_at,
    document, catalog_version, as_of)
SELECT $1, d.customer_plan_id, d.customer_id, d.starts_at, d.ends_at, d.document::jsonb,
    (SELECT version FROM catalog_version),
    coalesce((SELECT min(ingested_to) FROM projection_position WHERE generation = $1), now())
FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::text[])
  AS d(customer_plan_id, customer_id, starts_at, ends_at, document)
"""


async def price_generation(connection: asyncpg.Connection, generation: int) -> int:
    """Price every draft of a generation; returns how many.

    Call it within a REPEATABLE READ transaction: usage, plans and positions of one instant.
    """
    await check_kept(connection, generation)
    await connection.execute("DELETE FROM generation_draft WHERE generation = $1", generation)
    found = await read_targets(connection, TermsShelf(), generation)
    targets, book = await with_credits(connection, found)
    for start in range(0, len(targets), CHUNK):
        await _write(connection, generation, targets[start : start + CHUNK], book)
    return len(targets)


async def documents(
    connection: asyncpg.Connection, generation: int, targets: Sequence[Target], book: CreditBook
) -> list[bytes]:
    """The priced document of each target, in their order; of the caller's snapshot."""
    drafts = [target.draft for target in targets]
    found = await documents_of(connection, drafts, generation, book)
    return [found[draft.invoice_id] for draft in drafts]


async def _write(
    connection: asyncpg.Connection, generation: int, targets: Sequence[Target], book: CreditBook
) -> None:
    priced = await documents(connection, generation, targets, book)
    await connection.execute(
        _WRITE,
        generation,
        [target.customer_plan_id for target in targets],
        [target.draft.customer_id for target in targets],
        [target.draft.period.start for target in targets],
        [target.draft.period.end for target in targets],
        [document.decode() for document in priced],
    )
