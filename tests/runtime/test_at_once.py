"""A limit on waiting, and none of its cost for what need not wait."""

import asyncio
from unittest.mock import patch

import pytest

from services.runtime.at_once import within


async def ready(value: int) -> int:
    return value


async def failing() -> int:
    raise KeyError("its own")


async def waiting(turns: int) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return turns


def test_what_is_ready_needs_no_timer() -> None:
    async def scenario() -> None:
        with patch("asyncio.timeout", side_effect=AssertionError):
            assert await within(1, ready(3)) == 3
            with pytest.raises(KeyError):
                await within(1, failing())

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_what_has_to_wait_gives_its_result(turns: int) -> None:
    assert asyncio.run(within(5, waiting(turns))) == turns


@pytest.mark.parametrize("turns", [0, 1])
def test_what_waits_too_long_is_ended_and_tidies_up(turns: int) -> None:
    ended: list[str] = []

    async def standing_still() -> None:
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        finally:
            ended.append("tidied up")

    with pytest.raises(TimeoutError):
        asyncio.run(within(0.01, standing_still()))
    assert ended == ["tidied up"]


@pytest.mark.parametrize("turns", [1, 3])
def test_a_failure_after_a_wait_comes_through(turns: int) -> None:
    async def late_failure() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise KeyError("its own")

    with pytest.raises(KeyError):
        asyncio.run(within(5, late_failure()))


def test_who_waits_can_be_cancelled_from_outside() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(within(60, asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
