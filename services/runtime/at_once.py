"""A time limit that costs nothing for what is there already, as most bodies are. Never for what
must be stopped while it computes.

asyncio.timeout costs some 7 us, more than reading a small body. So the first step is taken without
one; only what has to wait after that gets it.
"""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


async def within(seconds: float, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The coroutine's result; raises TimeoutError when it has to wait longer than that."""
    try:
        first = coroutine.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _Begun(coroutine, first)


class _Begun(Generic[Result]):
    """Goes on with a coroutine that waits for `first`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Result], first: object) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Result]:
        try:
            yield self._first
        except BaseException:  # cancelled, as a rule: it must not go on, but tidy up
            self._coroutine.close()
            raise
        return (yield from self._coroutine.__await__())
