"""One run: a seed in, a kept promise or a Failure out."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from unittest.mock import patch

from tests.simulation import stages
from tests.simulation.catalogs import changed_catalog, first_catalog
from tests.simulation.checks import check
from tests.simulation.clients import Clients, foreign_record
from tests.simulation.producer import SimulatedProducer
from tests.simulation.profile import DAY_MS, HOUR_MS, draw_profile
from tests.simulation.replay import operator
from tests.simulation.scheduler import Failure, Process, Scheduler
from tests.simulation.servers import Servers
from tests.simulation.stages import Gateway, World

# What the gateway's sink makes its producers of.
_PRODUCER = "services.gateway.sink_kafka.AIOKafkaProducer"
START_MS = 1_795_000_000_000
# A run of faults ends after this many steps, whatever clients still want to send.
STEPS_MAX = 1_500
# Everything drains well within as many more; a run that does not is stuck.
CALM_STEPS_MAX = 20_000
# Chance, at a step, that a dead process is started again, a changed group is dealt anew, a late
# request lands, a frozen process goes on.
_MEND = 0.05
_PROCESSES = {
    "dedup": stages.dedup,
    "rating": stages.rating,
    "projector": stages.projector,
    "operator": operator,
}


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    seed: int
    failure: Failure | None
    steps: int
    events: int
    injected: Counter[str]
    trace: list[str]


class Simulation:
    """One world, from its seed."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.seed = seed
        self.scheduler = Scheduler(self.rng, draw_profile(self.rng))
        self.servers = Servers([first_catalog(self.rng)], START_MS)
        self.world = World(self.scheduler, self.servers)
        self.gateways: list[Gateway] = []
        self.clients = Clients(self.world, self.gateways)
        self.processes: list[Process] = []
        self.halts: list[str] = []
        self._started: Counter[str] = Counter()
        self._nemesis: dict[str, Callable[[], None]] = {
            "freeze": self._freeze,
            "rebalance": self._rebalance,
            "redis_snapshot": self.servers.snapshot_index,
            "redis_lost_suffix": self.servers.lose_index_suffix,
            "redis_flush": self.servers.flush_index,
            "redis_replaced": self._replace_redis,
            "catalog_change": self._change_catalog,
            "foreign_record": lambda: foreign_record(self.world, self.clients.truth),
            "client_gives_up_waiting": self.clients.give_up_waiting,
            "hours_pass": self._let_hours_pass,
        }

    def run(self) -> Outcome:
        """Faults, then calm, then the checks."""
        asyncio._set_running_loop(self.scheduler.loop)
        halts = _Halts(self.halts)
        logger = logging.getLogger("services")
        logger.addHandler(halts)
        level = logger.level
        logger.setLevel(logging.ERROR)
        failure = None
        try:
            with patch(_PRODUCER, partial(SimulatedProducer, self.servers)):
                self._run()
        except Failure as found:
            failure = found
        finally:
            logger.removeHandler(halts)
            logger.setLevel(level)
            self.scheduler.loop.forget()
            asyncio._set_running_loop(None)
        return Outcome(
            self.seed,
            failure,
            self.scheduler.steps,
            len(self.clients.truth.events),
            self.scheduler.injected,
            self.scheduler.trace,
        )

    def _run(self) -> None:
        self._start_missing()
        self.clients.start()
        self.scheduler.loop.drain()
        while self.clients.busy and self.scheduler.steps < STEPS_MAX:
            self._disturb()
            self._step()
        self.scheduler.calm = True
        self.scheduler.note("calm")
        for _ in range(CALM_STEPS_MAX):
            if not self._settle():
                break
        else:
            raise Failure("stuck", f"not drained after {CALM_STEPS_MAX} steps")
        if self.halts:
            raise Failure("halted", self.halts[0])
        check(self.servers, self.clients.truth, self.world.partitions)

    def _step(self) -> bool:
        scheduler = self.scheduler
        scheduler.steps += 1
        self.servers.log.now_ms += 1
        went_on = scheduler.resume_one()
        if scheduler.failure is not None:
            raise scheduler.failure
        return went_on

    def _disturb(self) -> None:
        for name, strike in self._nemesis.items():
            if self.scheduler.chance(name):
                self.scheduler.note(f"  {name}")
                strike()
        if self.rng.random() < _MEND:
            self._start_missing()
        if self.rng.random() < _MEND:
            self._deal_changed()
        if self.rng.random() < _MEND:
            self.scheduler.land_one()
        if self.rng.random() < _MEND:
            self._thaw_one()
        if self.scheduler.profile.days_pass and self.rng.random() < 0.01:
            self.servers.log.now_ms += self.rng.choice((1, 11, 33)) * DAY_MS
            self.scheduler.note("  days pass")
        self.scheduler.loop.drain()

    def _settle(self) -> bool:
        """One step of the calm; False when nothing is left to do."""
        while self._thaw_one():
            pass
        while self.scheduler.land_one():
            pass
        self._start_missing()
        self.scheduler.loop.drain()
        self._deal_changed()
        self.scheduler.loop.drain()
        return self._step()

    def _start_missing(self) -> None:
        for stage, wanted in self.scheduler.profile.workers.items():
            alive = sum(process.stage == stage for process in self.processes)
            for _ in range(wanted - alive):
                self._start(stage)

    def _start(self, stage: str) -> None:
        self._started[stage] += 1
        process = Process(self.scheduler, stage, f"{stage}{self._started[stage]}")
        self.processes.append(process)
        process.on_death.append(lambda: self.processes.remove(process))
        self.scheduler.note(f"  {process.name} starts")
        if stage != "gateway":
            process.run(_PROCESSES[stage](self.world, process))
            return
        gateway = Gateway(self.world, process)
        self.gateways.append(gateway)
        process.on_death.append(lambda: self.gateways.remove(gateway))
        process.run(gateway.run())

    def _deal_changed(self) -> None:
        for group in self.world.groups.values():
            if group.changed:
                group.rebalance()

    def _rebalance(self) -> None:
        self.rng.choice(list(self.world.groups.values())).rebalance()

    def _freeze(self) -> None:
        process = self.rng.choice(self.processes) if self.processes else None
        if process is None or process.frozen:
            return
        process.frozen = True
        self.scheduler.note(f"  {process.name} is frozen")
        if process.stage in self.world.groups:
            self.world.groups[process.stage].changed = True

    def _thaw_one(self) -> bool:
        frozen = [process for process in self.processes if process.frozen]
        if not frozen:
            return False
        process = self.rng.choice(frozen)
        process.frozen = False
        self.scheduler.note(f"  {process.name} goes on")
        if process.stage in self.world.groups:
            self.world.groups[process.stage].changed = True
        return True

    def _replace_redis(self) -> None:
        """An empty one; whoever was connected to the old one ends."""
        self.servers.flush_index()
        for process in [process for process in self.processes if process.stage == "dedup"]:
            self.scheduler.kill(process)

    def _change_catalog(self) -> None:
        """A change is in force at once, and is answered a moment later, or at the next."""
        servers = self.servers
        servers.answered_version = servers.catalogs[-1].version
        servers.change_catalog(changed_catalog(self.rng, servers.catalogs[-1]))
        if self.rng.random() < 0.7:
            servers.answered_version = servers.catalogs[-1].version

    def _let_hours_pass(self) -> None:
        self.servers.log.now_ms += self.rng.randint(1, 48) * HOUR_MS // 2


class _Halts(logging.Handler):
    """Keeps what the stages say when a partition stops: here none may."""

    def __init__(self, halts: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._halts = halts

    def emit(self, record: logging.LogRecord) -> None:
        self._halts.append(record.getMessage())


def simulate(seed: int) -> Outcome:
    """Run one seed."""
    return Simulation(seed).run()
