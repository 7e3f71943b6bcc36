"""What the nemesis can do, each as one function over the world. Knows how, never when."""

import asyncio
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from services.stack.notify import NotifySocket
from services.stack.stages import INSTANCE_ID
from tests.chaos import replays
from tests.chaos.world import SERVERS, STAGES, NotDone, World

# Kafka gives a silent member's partitions to others after 10 s (worker.SESSION_TIMEOUT_MS).
_PAUSE_S = (11.0, 14.0)
# Servers answer nobody for as long; nothing here depends on the length.
_SERVER_PAUSE_S = (0.5, 4.0)
# Traffic that an older copy of Redis's file has not seen.
_FORGOTTEN_S = (1.0, 2.5)
# Until two workers have shared the partitions and done some work together.
_TOGETHER_S = (3.0, 6.0)
# Until a second worker has its partitions; one that fails for the fault before is started again.
_READY_S_MAX = 40.0
# With traffic a point is reached at once; what still sleeps fires later, which is noted.
_FIRES_S = 6.0

# Which stage passes which points (services/runtime/failpoint.py says where each is).
FAILPOINTS = {
    "gateway": ("before_send", "after_send", "before_reply", "after_reply"),
    "dedup": ("after_poll", "after_claim", "before_send", "after_send"),
    "rating": ("after_poll", "before_send", "after_send"),
    "projector": (
        "after_poll",
        "before_commit",
        "after_commit",
        "before_pricing_commit",
        "after_pricing_commit",
        "before_final_commit",
        "after_final_commit",
    ),
}
# Traffic does not lead there: an invoice has to become final.
OF_FINAL_INVOICES = {"before_final_commit", "after_final_commit"}

Action = Callable[[World, random.Random], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to do; `kind` groups the figures of the report."""

    kind: str
    target: str
    do: Action


def every_fault() -> list[Fault]:
    """Each fault once; the order is the nemesis's business."""
    faults = [Fault("kill", name, _kill(name)) for name in (*STAGES, *SERVERS)]
    faults += [
        Fault("failpoint", f"{stage}.{point}", _failpoint(stage, point))
        for stage, points in FAILPOINTS.items()
        for point in points
    ]
    faults += [Fault("pause", stage, _pause(stage, _PAUSE_S)) for stage in STAGES[1:]]
    faults += [Fault("pause", name, _pause(name, _SERVER_PAUSE_S)) for name in SERVERS]
    faults += [Fault("second worker", stage, _second(stage)) for stage in STAGES]
    faults += [Fault("twin", stage, _second(stage, INSTANCE_ID)) for stage in STAGES[1:]]
    faults += [Fault("cut", server, _cut(server)) for server in SERVERS]
    faults += [
        Fault("kill", "all servers", _kill_all),
        Fault("flush", "redis", _flush),
        Fault("empty", "redis", _empty),
        Fault("older copy", "redis", _older),
        Fault("terminate backends", "postgres", _terminate_backends),
        Fault("client kill", "redis", _client_kill),
        Fault("replay", "unique", _replay("unique")),
        Fault("replay", "raw", _replay("raw")),
        Fault("rollback", "", _roll_back),
    ]
    return faults


def _kill(name: str) -> Action:
    async def do(world: World, _: random.Random) -> str:
        await asyncio.to_thread(world.kill, name)
        return ""

    return do


async def _kill_all(world: World, _: random.Random) -> str:
    for name in SERVERS:
        await asyncio.to_thread(world.kill, name)
    return ""


def _failpoint(stage: str, point: str) -> Action:
    async def do(world: World, _: random.Random) -> str:
        path = world.arm(stage, point)
        if point in OF_FINAL_INVOICES:
            await asyncio.to_thread(world.let_an_invoice_be_final)
        return "fired" if await gone(path, _FIRES_S) else "armed"

    return do


async def gone(path: Path, seconds: float) -> bool:
    """Whether an armed point has fired within so long."""
    for _ in range(int(seconds / 0.05)):
        if not path.exists():
            return True
        await asyncio.sleep(0.05)
    return False


def _pause(name: str, between: tuple[float, float]) -> Action:
    async def do(world: World, choice: random.Random) -> str:
        pid = await asyncio.to_thread(world.pid, name)
        world.stop(pid)
        seconds = choice.uniform(*between)
        await asyncio.sleep(seconds)
        world.go_on(pid)
        return f"{seconds:.1f} s"

    return do


def _second(stage: str, instance_id: str = "") -> Action:
    async def do(world: World, choice: random.Random) -> str:
        notify = NotifySocket(stage)
        try:
            world.start_second(stage, notify.address, instance_id)
            async with asyncio.timeout(_READY_S_MAX):
                await notify.wait_ready()
        except TimeoutError as error:
            how = await asyncio.to_thread(world.end_second, stage, signal.SIGKILL)
            raise NotDone(f"a second {stage} was never ready: {how}") from error
        finally:
            notify.close()
        await asyncio.sleep(choice.uniform(*_TOGETHER_S))
        number = choice.choice([signal.SIGKILL, signal.SIGTERM])
        return await asyncio.to_thread(world.end_second, stage, number)

    return do


def _cut(server: str) -> Action:
    async def do(world: World, _: random.Random) -> str:
        count = world.cut_connections(server)
        if count == 0:
            raise NotDone(f"nobody is connected to {server}")
        return f"{count} connections"

    return do


def _replay(source: str) -> Action:
    async def do(world: World, choice: random.Random) -> str:
        return await replays.replay_and_promote(world.tollgate, source, choice)

    return do


async def _roll_back(world: World, choice: random.Random) -> str:
    return await replays.roll_back(world.tollgate, choice)


async def _flush(world: World, _: random.Random) -> str:
    return await _ask(world.redis_command("FLUSHALL"))


async def _client_kill(world: World, _: random.Random) -> str:
    return await _ask(world.redis_command("CLIENT", "KILL", "TYPE", "normal"))


async def _terminate_backends(world: World, _: random.Random) -> str:
    return await _ask(world.kick_from_postgres())


async def _ask(request: Awaitable[None]) -> str:
    """A server that is just coming back cannot be asked for anything."""
    try:
        await request
    except Exception as error:  # whatever the clients raise for an absent server
        raise NotDone(repr(error)) from error
    return ""


async def _empty(world: World, _: random.Random) -> str:
    """Another Redis with nothing in it. The old one is stopped while its files are taken away, so
    that it is not started on them in between."""
    pid = await asyncio.to_thread(world.pid, "redis")
    world.stop(pid)
    shutil.rmtree(_redis_files(world), ignore_errors=True)
    world.go_on_dead(pid)
    return ""


async def _older(world: World, choice: random.Random) -> str:
    """A Redis that has lost its last second or two, as after a failover to a stale replica."""
    pid = await asyncio.to_thread(world.pid, "redis")
    files = _redis_files(world)
    copy = files.with_name("older")
    shutil.rmtree(copy, ignore_errors=True)
    if not any(files.glob("*.incr.aof")):
        raise NotDone("Redis has no file yet")
    world.stop(pid)
    shutil.copytree(files, copy)
    world.go_on(pid)
    seconds = choice.uniform(*_FORGOTTEN_S)
    await asyncio.sleep(seconds)
    world.stop(pid)
    shutil.rmtree(files, ignore_errors=True)
    copy.rename(files)
    world.go_on_dead(pid)
    return f"forgets {seconds:.1f} s"


def _redis_files(world: World) -> Path:
    return world.tollgate.data_dir / "redis" / "appendonlydir"
