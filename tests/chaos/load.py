"""Clients that post batches and behave as clients do: again after a 503 or a timeout, and now and
then again after a 200, the same batch whole. Everything they are told goes into the tally.
"""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from tests.chaos.tally import BATCH_EVENTS, Tally, amount, transaction_id
from tests.integration.client import Billed

CLIENTS = 8
# Longer than the gateway takes for any answer of its own, stalls of the machine included.
ANSWER_S_MAX = 20.0
# Sent batches that may be sent again long after their 200.
REMEMBERED = 2_000
_SHARE_RESENT = 0.1
_SHARE_CONFLICTING = 0.03
_SHARE_INVALID = 0.02
_SHARE_GIVEN_UP = 0.05


@dataclass
class Load:
    """A steady stream of batches over the customers until it is stopped."""

    api_urls: list[str]  # the nemesis adds a second gateway and takes it away again
    token: str
    customers: list[Billed]
    name: str
    events_per_s: int
    random: random.Random
    tally: Tally = field(default_factory=Tally)
    statuses: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    on_answer: Callable[[int], None] = lambda _status: None

    def __post_init__(self) -> None:
        self.accepted: deque[tuple[str, bytes]] = deque(maxlen=REMEMBERED)
        self._made = 0
        self._at = datetime.now(UTC).isoformat().replace("+00:00", "Z")

    async def run(self, stopping: asyncio.Event) -> None:
        """Post until told to stop; a batch in hand is then left as it is."""
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        began = time.monotonic()

        async def client(session: aiohttp.ClientSession) -> None:
            while not stopping.is_set():
                due = began + self._made * BATCH_EVENTS / self.events_per_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._one(session, stopping)

        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            await asyncio.gather(*(client(session) for _ in range(CLIENTS)))

    async def _one(self, session: aiohttp.ClientSession, stopping: asyncio.Event) -> None:
        """A new batch until it is answered for good, and perhaps an old one once more."""
        self._made += 1
        batch = f"{self.name}-{self._made}"
        customer = self.random.choice(self.customers)
        if self.random.random() < _SHARE_INVALID:
            await self._post(session, batch, self._body(batch, customer, valid=False), new=True)
            return
        body = self._body(batch, customer)
        status = await self._post(session, batch, body, new=True)
        while status != 200 and not stopping.is_set():
            if self.random.random() < _SHARE_GIVEN_UP:
                return
            await asyncio.sleep(self.random.uniform(0.05, 0.5))
            status = await self._post(session, batch, body)
        if status == 200:
            await self._afterwards(session, batch, customer, body)

    async def _afterwards(
        self, session: aiohttp.ClientSession, batch: str, customer: Billed, body: bytes
    ) -> None:
        self.accepted.append((batch, body))
        if self.random.random() < _SHARE_RESENT:
            old, content = self.random.choice(self.accepted)
            await self._post(session, old, content)
        if self.random.random() < _SHARE_CONFLICTING:
            # Same ids, other content, after the 200: none of it may ever count. Its group shows
            # up as one that was never sent if it does.
            conflict = self._body(batch, customer, group=f"{batch}-conflict")
            await self._post(session, batch, conflict, told=False)

    async def _post(
        self,
        session: aiohttp.ClientSession,
        batch: str,
        body: bytes,
        *,
        new: bool = False,
        told: bool = True,
    ) -> int:
        """One request; the status, 0 when there was no answer."""
        if new:
            self.tally.sent(batch)
        url = self.random.choice(self.api_urls)
        began = time.monotonic()
        try:
            async with session.post(f"{url}/v1/ingest", data=body) as answer:
                await answer.read()
                status = answer.status
                assert status in (200, 400, 503), f"{status}: {await answer.text()}"
                assert status != 503 or "Retry-After" in answer.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1
            return 0
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.statuses[str(status)] += 1
        self.on_answer(status)
        if told:
            self.tally.answered(batch, status)
        return status

    def _body(self, batch: str, customer: Billed, *, group: str = "", valid: bool = True) -> bytes:
        events = [
            {
                "transaction_id": transaction_id(batch, number),
                "customer_id": customer.alias,
                "event_type": customer.event_type,
                "timestamp": self._at,
                "properties": {"bytes": amount(number), "region": group or batch},
            }
            for number in range(BATCH_EVENTS)
        ]
        if not valid:
            events[self.random.randrange(BATCH_EVENTS)]["timestamp"] = "yesterday"
        return json.dumps(events, separators=(",", ":")).encode()
