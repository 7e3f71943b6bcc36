"""How every stage runs as a process: signals, logging, readiness, exit status.

A broken world ends the process with status 1 and one explained line; a supervisor starts it again
and it resumes from its own output. Nothing here retries.
"""

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import uvloop

from services.runtime import failpoint, uvloop_kafka
from services.runtime.settings import Settings, settings_or_exit

Stage = Callable[[Settings, asyncio.Event], Awaitable[None]]

logger = logging.getLogger("tollgate")

# Far longer than anything of ours holds the loop: the largest request or record takes about 2 s.
LOOP_STALL_S_MAX = 20.0


def run_stage(name: str, stage: Stage, argv: list[str]) -> int:
    """Run `stage(settings, stopping)` until it returns or the process is told to stop.

    `stopping` is set on SIGTERM and SIGINT. Returns the exit status: 0 after an orderly stop, 1
    after a failure; settings that are wrong exit with 2.
    """
    settings = settings_or_exit(os.environ, argv)
    start_logging(name, settings.log_level)
    failpoint.watch(name, settings.failpoint_dir)
    uvloop_kafka.mend()
    try:
        uvloop.run(_until_stopped(stage, settings))
    except Exception:  # the last line of defence: say what ended the process
        logger.exception("%s ends; it resumes from its own output when it is started again", name)
        return 1
    logger.info("%s stopped", name)
    return 0


async def _until_stopped(stage: Stage, settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    watching = asyncio.create_task(_end_when_stalled())
    try:
        await stage(settings, stopping)
    finally:
        watching.cancel()
        faulthandler.cancel_dump_traceback_later()


async def _end_when_stalled() -> None:
    """A loop that does not turn hears no signal and hands no partition over: after a while such a
    process writes where it stands and ends with status 1, and a supervisor starts it again."""
    while True:
        faulthandler.dump_traceback_later(LOOP_STALL_S_MAX, exit=True)
        await asyncio.sleep(LOOP_STALL_S_MAX / 10)


def start_logging(name: str, level: str) -> None:
    """Log lines to standard error, one format for every stage."""
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s",
    )
    # Their INFO is about every rebalance and fetch; what matters of it we log ourselves.
    for chatty in ("aiokafka", "faust", "mode"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def notify_ready(settings: Settings) -> None:
    """Tell the supervisor that this process is ready (sd_notify: READY=1); no-op without one.

    What is there by now, modules above all, stays. So it is taken out of the collector's sight: a
    full collection would look at all of it, with nothing else going on for some 20 ms.
    """
    gc.collect()
    gc.freeze()
    if settings.notify_socket is None:
        return
    address = settings.notify_socket
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(address)
        notify.sendall(b"READY=1")


async def first_of(*awaitables: Awaitable[object]) -> None:
    """Wait until one of them ends and cancel the others; raises what the first one raised."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
