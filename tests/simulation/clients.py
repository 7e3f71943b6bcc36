"""Those who post events, and what they were told; and strangers who write to usage.raw themselves.

The n-th event of a run is worth 8 to the power of n, so that a sum names, digit by digit, which
events were counted, and which of them twice.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import msgspec

from services.domain.partition import partition_of
from services.runtime.events import WireEvent, encode_event
from tests.simulation.profile import DAY_MS, HOUR_MS
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.stages import Gateway, World

ATTEMPTS_MAX = 4
# 8 to the power of this still has fewer digits than a number may have.
EVENTS_MAX = 42
# How long after its first post an id is used again: remembered, just forgotten, long forgotten.
AGES_MS = (33 * DAY_MS, 34 * DAY_MS + 2 * HOUR_MS, 35 * DAY_MS)


@dataclass
class Told:
    """What clients know of one event."""

    number: int
    transaction_id: str
    countable: bool
    answered_200: bool = False


@dataclass
class Truth:
    """Every event that was ever posted."""

    events: list[Told] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """No more events: numbers have an end."""
        return len(self.events) >= EVENTS_MAX


class Clients:
    """All of them, over the gateways that are there."""

    def __init__(self, world: World, gateways: list[Gateway]) -> None:
        self.truth = Truth()
        self._world = world
        self._scheduler: Scheduler = world.scheduler
        self._rng = world.scheduler.rng
        self._gateways = gateways
        self.busy = 0

    def start(self) -> None:
        """Every client begins."""
        profile = self._scheduler.profile
        for number in range(profile.clients):
            process = Process(self._scheduler, "client", f"client{number}")
            self.busy += 1
            process.run(self._client(profile.requests))
        if profile.days_pass:
            self.busy += 1
            process = Process(self._scheduler, "client", "monthly")
            process.run(self._monthly())

    async def _client(self, requests: int) -> None:
        for _ in range(requests):
            await self._scheduler.point("thinks")
            events = [self._new_event() for _ in range(self._rng.randint(1, 5))]
            if self._rng.random() < 0.2:
                events += self._rng.sample(events, 1)  # twice in one request
            await self._deliver([event for event in events if event is not None])
        self.busy -= 1

    async def _monthly(self) -> None:
        """Posts ids again after they were, or were not yet, forgotten."""
        first_at_ms = self._world.servers.log.now_ms
        events = [event for _ in range(3) if (event := self._new_event(ahead=timedelta(hours=23)))]
        await self._deliver(events)
        for age_ms in sorted(self._rng.sample(AGES_MS, 2)):
            await self._scheduler.point(
                f"waits {age_ms // HOUR_MS} h", ready=partial(self._passed, first_at_ms + age_ms)
            )
            oldest = self._world.now() - timedelta(days=34)
            again = [
                (told, event if event.timestamp >= oldest else _at(event, self._world.now()))
                for told, event in events
            ]
            await self._deliver(again)
        self.busy -= 1

    def _passed(self, instant_ms: int) -> bool:
        return self._world.servers.log.now_ms >= instant_ms

    def _new_event(self, ahead: timedelta = timedelta()) -> tuple[Told, WireEvent] | None:
        """The next event, now and then under an id that another has: a conflict."""
        truth, rng = self.truth, self._rng
        if truth.full:
            return None
        number = len(truth.events)
        transaction_id = f"e{number}"
        if truth.events and rng.random() < 0.1:
            transaction_id = rng.choice(truth.events).transaction_id
        countable = rng.random() > 0.05
        told = Told(number, transaction_id, countable)
        truth.events.append(told)
        properties = {
            "units": str(8**number) if countable else "many",
            "region": rng.choice(("eu", "us")),
        }
        event = WireEvent(
            transaction_id,
            rng.choice(("one", "two")),
            rng.choice(("a", "b")),
            self._world.now() + ahead - timedelta(minutes=rng.randint(0, 120)),
            properties,
        )
        return told, event

    async def _deliver(self, events: list[tuple[Told, WireEvent]]) -> None:
        """Send a whole request until it is answered 200 or patience ends; then, now and then,
        again."""
        if not events:
            return
        body = msgspec.json.encode([event for _, event in events])
        for _ in range(ATTEMPTS_MAX):
            status = await self._post(body)
            if status == 200:
                for told, _event in events:
                    told.answered_200 = True
                if self._rng.random() < 0.8:
                    return
            elif status == 400 or self._rng.random() < 0.1:
                return
            await self._scheduler.point("sends again")

    async def _post(self, body: bytes) -> int | None:
        await self._scheduler.point("posts", ready=lambda: bool(self._gateways))
        gateway = self._rng.choice(self._gateways)
        return await gateway.post(body)

    def give_up_waiting(self) -> None:
        """Some client closes its connection; its request goes on."""
        waiting = [
            answer
            for gateway in self._gateways
            for answer in gateway.unanswered
            if not answer.done()
        ]
        if waiting:
            self._rng.choice(waiting).set_result(None)


def _at(event: WireEvent, now: datetime) -> WireEvent:
    return msgspec.structs.replace(event, timestamp=now)


def foreign_record(world: World, truth: Truth) -> None:
    """A stranger writes to usage.raw: what is no event, what stands in the wrong place, or an
    event of its own."""
    rng = world.scheduler.rng
    partition = rng.randrange(world.partitions)
    kinds = ["junk", "empty", "wrong key", "its own"]
    kind = rng.choice(kinds if world.partitions == 1 else [*kinds, "wrong partition"])
    if kind in ("junk", "empty"):
        world.servers.put_raw(partition, b"x", b"{" if kind == "junk" else None)
        return
    # An event of its own, under an id of its own; it is worth nothing.
    known = f"foreign{rng.randint(1, 3)}"
    partition = partition_of(known, world.partitions)
    event = encode_event(WireEvent(known, "one", "a", world.now(), {"units": "0"}))
    if kind == "wrong key":
        world.servers.put_raw(partition, b"y", event)
    elif kind == "wrong partition":
        world.servers.put_raw((partition + 1) % world.partitions, known.encode(), event)
    else:
        world.servers.put_raw(partition, known.encode(), b" " + event + b"\n")
