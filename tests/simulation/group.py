"""Consumer groups: who holds which partition, and consumers that are told late, or while somebody
else already works on what they hold.
"""

from collections.abc import Mapping, Sequence

from services.runtime.consumer import Assignee
from services.runtime.consumer_memory import MemoryConsumer
from services.runtime.log import Record
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.servers import Servers

# Records a poll gives at most, so that a backlog takes several.
POLL_MAX = 5


class SimulatedConsumer(MemoryConsumer):
    """A member of a group. See `services.runtime.consumer.Consumer`."""

    def __init__(self, servers: Servers, topic: str, group: "Group", process: Process) -> None:
        super().__init__(servers.log, topic)
        self.committed = group.committed
        self._group = group
        self._process = process
        self._scheduler = process.scheduler
        self._partitions = servers.log.partitions
        self._wanted: tuple[int, ...] | None = None
        self._assigning = False

    async def start(self, assignee: Assignee) -> None:
        """See Consumer."""
        await super().start(assignee)
        self._group.join(self)

    async def poll(self, records_max: int) -> Mapping[int, Sequence[Record]]:
        """See Consumer. What it returns may be old by then, or come a second time."""
        await self._scheduler.point(f"poll {self.topic}", ready=self._has_more)
        if self._scheduler.chance("redelivery"):
            for partition in list(self.positions):
                back = self._scheduler.rng.randint(0, 4)
                self.positions[partition] = max(0, self.positions[partition] - back)
        count = self._scheduler.rng.randint(1, POLL_MAX)
        fetched = await super().poll(min(count, records_max))
        await self._scheduler.point(f"polled {self.topic}")
        return fetched

    def _has_more(self) -> bool:
        return any(
            position != len(self._partitions[self.topic, partition])
            for partition, position in self._reading()
        )

    def end(self, partition: int) -> int:
        """The offset after the last record."""
        return len(self._partitions[self.topic, partition])

    def give(self, partitions: Sequence[int]) -> None:
        """The group's newest word; the member learns of it when it comes to that."""
        self._wanted = tuple(partitions)
        if not self._assigning:
            self._assigning = True
            self._process.run(self._learn())

    async def _learn(self) -> None:
        while self._wanted is not None:
            await self._scheduler.point(f"rebalance {self.topic}")
            wanted, self._wanted = self._wanted, None
            await self.assign(wanted)
        self._assigning = False

    @property
    def process(self) -> Process:
        """Whose consumer it is."""
        return self._process


class Group:
    """The members of one stage."""

    def __init__(self, scheduler: Scheduler, partitions: int) -> None:
        self.committed: dict[int, int] = {}
        self.changed = False  # somebody came, went, or does not answer
        self._scheduler = scheduler
        self._partitions = partitions
        self._members: list[SimulatedConsumer] = []

    def join(self, member: SimulatedConsumer) -> None:
        """A new member; a dead one leaves by itself."""
        self._members.append(member)
        self.changed = True
        member.process.on_death.append(lambda: self._leave(member))

    def _leave(self, member: SimulatedConsumer) -> None:
        self._members.remove(member)
        self.changed = True

    def rebalance(self) -> None:
        """Give every partition to one of those who answer. A frozen member is told, too, for when
        it goes on: until then it believes what it knew."""
        answering = [member for member in self._members if not member.process.frozen]
        given: dict[int, list[int]] = {index: [] for index in range(len(answering))}
        if answering:
            for partition in range(self._partitions):
                given[self._scheduler.rng.randrange(len(answering))].append(partition)
        for index, member in enumerate(answering):
            member.give(given[index])
        for member in self._members:
            if member.process.frozen:
                member.give(())
        self.changed = False
        self._scheduler.note(f"  rebalance: {[(m.process.name) for m in answering]} {given}")
