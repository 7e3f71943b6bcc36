"""Whether the log still reaches back to where counting began, asked before a replay is made. Reads
bounds and first records only.
"""

from collections.abc import Iterable

from services.replay.generations import GenerationError, Source
from services.runtime.log import RATED, RAW, UNIQUE, Log
from services.runtime.records import decode_rated_head


async def check_reach(log: Log, source: Source, partitions: Iterable[int]) -> None:
    """`partitions`: those in which anything was counted. Raises GenerationError that says what is
    gone and what can be done."""
    for partition in partitions:
        for topic in (RATED, UNIQUE) if source is Source.UNIQUE else (RATED,):
            start, _ = await log.bounds(topic, partition)
            if start > 0:
                raise GenerationError(
                    f"{topic}[{partition}] begins at offset {start}: what came before is gone, so"
                    " the whole log cannot be counted again. Keep this topic without limit"
                )
        if source is Source.RAW:
            await _check_raw(log, partition)


async def _check_raw(log: Log, partition: int) -> None:
    start, _ = await log.bounds(RAW, partition)
    [first, *_] = await log.read(RATED, partition, 0)
    begun = decode_rated_head(first.value, f"{RATED}[{partition}]@0").first
    if start > begun:
        raise GenerationError(
            f"{RAW}[{partition}] begins at offset {start}, counting began at {begun}: retention"
            " (TOLLGATE_RAW_RETENTION_DAYS) has taken what came before. Use `--from unique`, which"
            " is kept without limit"
        )
