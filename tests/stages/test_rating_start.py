"""Rating as a process while Faust itself ends: it must end too, whenever that is."""

import asyncio

import pytest

from services.domain.catalog import Catalog
from services.rating.__main__ import watch
from services.rating.agent import make_app
from services.rating.catalog_memory import MemoryCatalogSource
from services.rating.step import RatingStep
from services.runtime.log_memory import MemoryLog

LIMIT_S = 5


@pytest.mark.parametrize("had_partitions", [False, True])
def test_when_faust_crashes_the_process_ends(had_partitions: bool) -> None:
    """Before the first assignment, and after it."""

    async def go() -> None:
        step = RatingStep(MemoryLog(), MemoryCatalogSource(Catalog(1, ())))
        app = make_app("127.0.0.1:1", 1, None, step)
        assigned, said = asyncio.Event(), list[str]()
        if had_partitions:
            assigned.set()
        watching = asyncio.create_task(
            watch(app, assigned, asyncio.Event(), lambda: said.append("ready"))
        )
        await asyncio.sleep(0.05)
        await app.crash(ConnectionError("no broker"))
        with pytest.raises(RuntimeError, match="Faust stopped"):
            async with asyncio.timeout(LIMIT_S):
                await watching
        assert said == ["ready"] * had_partitions

    asyncio.run(go())


@pytest.mark.parametrize("first", ["assigned", "stopping"])
def test_a_stop_is_orderly_whether_there_were_partitions_or_not(first: str) -> None:
    async def go() -> None:
        step = RatingStep(MemoryLog(), MemoryCatalogSource(Catalog(1, ())))
        app = make_app("127.0.0.1:1", 1, None, step)
        assigned, stopping = asyncio.Event(), asyncio.Event()
        watching = asyncio.create_task(watch(app, assigned, stopping, lambda: None))
        {"assigned": assigned, "stopping": stopping}[first].set()
        await asyncio.sleep(0.05)
        stopping.set()
        async with asyncio.timeout(LIMIT_S):
            await watching

    asyncio.run(go())
