"""Single events on customers of their own, watched until their draft shows them.

A probe's delay is from its 200 to when a poll of the drafts, every 10 ms, finds it there: too
long by up to that, never too short. Runs beside the load, so it must stay cheap.
"""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from tests.bench.database import connected
from tests.bench.replies import Reply, read_reply
from tests.bench.site import Site
from tests.bench.stack import BenchError

POLL_S = 0.01
_VISIBLE_S_MAX = 60.0
_CUSTOMERS = """
SELECT c.name AS alias, i.id FROM invoice i JOIN customer c ON c.id = i.customer_id
WHERE i.plan_id = $1 AND i.status = 'DRAFT' AND i.starts_at <= $2 AND i.ends_at > $2
"""
_SHOWN = """
SELECT id, (jsonb_path_query_first(document, '$.line_items[*] ? (@.name == "count").quantity')
    #>> '{}')::numeric AS shown FROM invoice WHERE id = ANY($1::uuid[])
"""


@dataclass(slots=True)
class _Waiting:
    count: int  # the draft shows at least this once it holds the probe
    answered_s: float
    due_s: float


@dataclass(slots=True)
class Probes:
    """Sends and watches; one connection to PostgreSQL, a few to the gateway."""

    site: Site
    connection: asyncpg.Connection
    day: tuple[datetime, datetime] | None = None  # of their timestamps, [from, to); else now
    drafts_s: list[float] = field(default_factory=list)  # 200 -> draft
    answers_s: list[float] = field(default_factory=list)  # due -> 200
    whole_s: list[float] = field(default_factory=list)  # due -> draft
    _free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    _invoices: dict[str, UUID] = field(default_factory=dict)
    _sent: dict[str, int] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(4))
    _waiting: dict[UUID, list[_Waiting]] = field(default_factory=lambda: defaultdict(list))

    async def open(self) -> None:
        """Find the drafts that will be watched, and what they show already."""
        rows = await self.connection.fetch(_CUSTOMERS, self.site.catalog.plan_id, self._moment())
        known = {row["alias"]: row["id"] for row in rows}
        for number in range(self.site.catalog.customers):
            alias = f"{self.site.catalog.prefix}{number}"
            self._invoices[alias] = known[alias]
        rows = await self.connection.fetch(_SHOWN, list(self._invoices.values()))
        shown = {row["id"]: int(row["shown"] or 0) for row in rows}
        self._sent = {alias: shown[invoice] for alias, invoice in self._invoices.items()}

    def close(self) -> None:
        """Hang up."""
        for _, writer in self._free:
            writer.close()

    async def send(self, number: int, due_s: float) -> None:
        """Post probe `number` on its customer, again until it is answered 200."""
        alias = f"{self.site.catalog.prefix}{number % self.site.catalog.customers}"
        self._sent[alias] += 1
        count = self._sent[alias]
        request = self._request(alias)
        while (reply := await self._post(request)).status != 200:
            if reply.status != 503:
                raise BenchError(f"a probe was answered {reply.status}: {reply.body!r}")
            await asyncio.sleep(0.1)
        answered_s = time.monotonic()
        self.answers_s.append(answered_s - due_s)
        self._waiting[self._invoices[alias]].append(_Waiting(count, answered_s, due_s))
        self.site.expected.unique += 1
        self.site.expected.amount += 1

    async def watch(self, wanted: int) -> None:
        """Until so many probes were seen on drafts."""
        seen_s = time.monotonic()
        while len(self.drafts_s) < wanted:
            began = time.monotonic()
            if await self._look():
                seen_s = time.monotonic()
            elif began - seen_s > _VISIBLE_S_MAX:
                raise BenchError(f"no probe reached its draft within {_VISIBLE_S_MAX:.0f} s")
            await asyncio.sleep(max(0.0, POLL_S - (time.monotonic() - began)))

    async def _look(self) -> int:
        pending = [invoice for invoice, waiting in self._waiting.items() if waiting]
        if not pending:
            return 0
        rows = await self.connection.fetch(_SHOWN, pending)
        now = time.monotonic()
        found = 0
        for row in rows:
            shown = row["shown"] or 0
            waiting = self._waiting[row["id"]]
            for probe in [each for each in waiting if each.count <= shown]:
                waiting.remove(probe)
                self.drafts_s.append(now - probe.answered_s)
                self.whole_s.append(now - probe.due_s)
                found += 1
        return found

    def _moment(self) -> datetime:
        if self.day is None:
            return datetime.now(UTC)
        begins, ends = self.day
        return begins + (ends - begins) * self._chance.random()

    def _request(self, alias: str) -> bytes:
        event: dict[str, Any] = {
            "transaction_id": f"probe-{uuid4().hex}",
            "customer_id": alias,
            "event_type": self.site.catalog.event_type,
            "timestamp": self._moment().isoformat(timespec="milliseconds"),
            "properties": {"bytes": "1", "region": "probe"},
        }
        body = json.dumps([event]).encode()
        head = (
            f"POST /v1/ingest HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.site.token}"
            f"\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _post(self, request: bytes) -> Reply:
        while self._free and self._free[-1][0].at_eof():  # idle for too long, so it was closed
            self._free.pop()[1].close()
        if not self._free:
            self._free.append(await asyncio.open_connection(*self.site.stack.api))
        reader, writer = self._free.pop()
        writer.write(request)
        received = b""
        while (reply := read_reply(received)) is None:
            piece = await reader.read(65_536)
            if not piece:
                writer.close()
                return await self._post(request)  # the same event again, as clients must
            received += piece
        self._free.append((reader, writer))
        return reply


async def steady(probes: Probes, per_s: float, seconds: float) -> int:
    """Independent arrivals at a rate, open loop; how many, once all were seen."""
    chance = random.Random(2)
    began = time.monotonic()
    due = [0.0]
    while due[-1] < seconds:
        due.append(due[-1] + chance.expovariate(per_s))
    due.pop()
    async with asyncio.TaskGroup() as group:
        group.create_task(probes.watch(len(probes.drafts_s) + len(due)))
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            group.create_task(probes.send(number, began + at))
    return len(due)


@asynccontextmanager
async def opened(site: Site, day: tuple[datetime, datetime] | None = None) -> AsyncIterator[Probes]:
    """Probes on a site of their own, on which nothing is under way; checked when they end well."""
    async with connected(site.stack.database_url) as connection:
        probes = Probes(site, connection, day)
        await probes.open()
        try:
            yield probes
            await site.drafts.check(site.catalog, site.expected)
        finally:
            probes.close()
