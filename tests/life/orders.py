"""Steps in any order: how they are drawn, taken, checked and told of. Knows what no step means."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from tests.life.conftest import Scenario
from tests.life.world import PARTITIONS, Used, World

Play = Callable[[Scenario], None]
Step = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Order:
    """One order of steps, with something to check after each."""

    world: World
    random: Random
    counted: list[Used] = field(default_factory=list)
    known: int = 0  # how many of them were counted when the step began
    final: dict[UUID, Any] = field(default_factory=dict)  # invoices, as they became so
    taken: list[str] = field(default_factory=list)

    async def go(self) -> None:
        """All of it."""
        raise NotImplementedError

    async def check(self) -> None:
        """What holds after every step."""
        raise NotImplementedError

    async def take(self, step: Step) -> None:
        """One step."""
        self.taken.append(step.__name__)
        self.known = len(self.counted)
        await step()
        await self.check()

    async def take_any(self, steps: Mapping[Step, int], times: int) -> None:
        """`steps`: with how often each is drawn, in proportion to the others."""
        for step in self.random.choices(list(steps), list(steps.values()), k=times):
            await self.take(step)

    async def count(self) -> None:
        """Of one partition."""
        self.counted += await self.world.count(self.random.randrange(PARTITIONS))

    async def settle(self) -> None:
        """Everything that is due, and once more what came of that."""
        for _ in range(3):
            await self.take(self._all)

    async def _all(self) -> None:
        self.counted += await self.world.count()
        await self.world.settle()


Ordered = TypeVar("Ordered", bound=Order)


def play_orders(play: Play, kind: type[Ordered], seeds: int) -> list[Ordered]:
    """Each on a world of its own; what fails names its seed and the steps taken."""
    orders: list[Ordered] = []

    async def scenario(world: World) -> None:
        orders.append(kind(world, Random(len(orders))))
        await orders[-1].go()

    for seed in range(seeds):
        try:
            play(scenario)
        except BaseException as error:
            error.add_note(f"seed {seed}: {[order.taken for order in orders[seed:]]}")
            raise
    return orders
