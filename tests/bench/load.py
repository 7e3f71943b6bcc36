"""Giving the generator its order, and what it has to tell."""

import asyncio
import json
import resource
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bench import children
from tests.bench.bodies import Shape
from tests.bench.figures import spread
from tests.bench.generator import PROGRESS
from tests.bench.stack import BenchError

# An answer of several hundred thousand latencies on one line.
_LINE_BYTES_MAX = 64 * 1024 * 1024
# To make a million requests and connect; and to post what an order has, beside its own time.
_READY_S_MAX = 60.0
_POST_S_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the generator shall do. An open loop has `per_s` (requests) and `seconds`; a closed one
    has `seconds` or `count` (requests)."""

    shape: Shape
    connections: int
    per_s: float | None = None
    seconds: float | None = None
    count: int | None = None
    path: str = "/v1/ingest"


@dataclass(frozen=True, slots=True)
class Posted:
    """What was posted and how it was answered; times are of the monotonic clock."""

    began_s: float
    last_answer_s: float
    requests: int
    events: int  # answered 200
    unique: int  # of them, those that count
    amount: int  # the sum of their property `bytes`
    event_bytes: float
    statuses: dict[str, int]
    cpu_s: float
    latencies_us: list[int]

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return self.last_answer_s - self.began_s

    def summary(self) -> dict[str, object]:
        """For the report."""
        return {
            "requests": self.requests,
            "events": self.events,
            "seconds": self.seconds,
            "statuses": self.statuses,
            "event_bytes": self.event_bytes,
            "generator_cpu_us_per_event": 1e6 * self.cpu_s / self.events,
            "answers_ms": spread([us / 1000 for us in self.latencies_us]),
        }


class Generator:
    """The generator's process: ready when entered, ended when left."""

    def __init__(self, addresses: list[tuple[str, int]], token: str, order: Order) -> None:
        self._addresses = addresses
        self._token = token
        self._order = order
        self._process: asyncio.subprocess.Process | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="tollgate-load-")
        self._progress = Path(self._directory.name) / "progress"

    async def __aenter__(self) -> Self:
        self._progress.write_bytes(PROGRESS.pack(0))
        self._process = await children.start(
            *(sys.executable, "-m", "tests.bench.generator"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES_MAX,
        )
        try:
            await self._prepare()
        except BaseException:
            await self._end()
            raise
        return self

    async def _prepare(self) -> None:
        order = asdict(self._order)
        order |= {"addresses": self._addresses, "token": self._token}
        order |= {"progress": str(self._progress)}
        await self._write(json.dumps(order))
        if (await self._line(_READY_S_MAX)) != b"ready\n":
            raise BenchError("the generator could not start")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        assert self._process is not None
        await children.kill(self._process)
        self._directory.cleanup()

    async def go(self) -> None:
        """Let it post."""
        await self._write("go")

    def accepted(self) -> int:
        """Events answered 200 by now."""
        (events,) = PROGRESS.unpack(self._progress.read_bytes())
        return int(events)

    async def posted(self) -> Posted:
        """Wait until it has posted everything; raises BenchError when that takes too long."""
        line = await self._line(_POST_S_MAX + (self._order.seconds or 0.0))
        assert self._process is not None
        if await self._process.wait() != 0 or not line:
            raise BenchError("the generator gave up; it says why above")
        found: dict[str, Any] = json.loads(line)
        return Posted(**found)

    async def _write(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def _line(self, wait_s: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(wait_s):
                return await self._process.stdout.readline()
        except TimeoutError:
            raise BenchError(f"the generator said nothing for {wait_s:.0f} s") from None


async def post(address: tuple[str, int], token: str, order: Order) -> Posted:
    """Post it all, watching nothing."""
    async with Generator([address], token, order) as generator:
        await generator.go()
        return await generator.posted()


def own_cpu_seconds() -> float:
    """CPU of this process: it watches drafts meanwhile."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
