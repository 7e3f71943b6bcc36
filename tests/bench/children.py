"""Processes that the bench starts: each ends with it, whatever ends it, and none is waited for
without a bound.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from services.stack.process import die_with_parent

# What is asked to end and does not; a stage and a server take 10 s at most.
END_S_MAX = 45.0


def bound_to_us(number: signal.Signals) -> Callable[[], None]:
    """To be run in a child before its program: the kernel sends it the signal when we end."""
    parent = os.getpid()
    return lambda: die_with_parent(number, parent)


async def start(
    *words: str, orphan_signal: signal.Signals = signal.SIGKILL, **fields: Any
) -> asyncio.subprocess.Process:
    """A process in a session of its own: Ctrl-C reaches the bench alone, which then ends it."""
    return await asyncio.create_subprocess_exec(
        *words, start_new_session=True, preexec_fn=bound_to_us(orphan_signal), **fields
    )


async def end(process: asyncio.subprocess.Process, wait_s: float = END_S_MAX) -> int | None:
    """Ask it to end and return its status; None when it had to be killed, after so long. Also
    killed when this is cancelled."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(wait_s):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        await kill(process)


async def kill(process: asyncio.subprocess.Process) -> None:
    """Kill it with its group, if it has not ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def output(*words: str, wait_s: float) -> tuple[int, bytes]:
    """Status and output of a command; raises TimeoutError when it takes longer. Not left behind
    when this is cancelled."""
    pipe = asyncio.subprocess.PIPE
    process = await start(*words, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    try:
        async with asyncio.timeout(wait_s):
            said, _ = await process.communicate()
    finally:
        await kill(process)
    assert process.returncode is not None
    return process.returncode, said
