"""One run of chaos: load and nemesis together, then drain, then every event is held against what
its client was told. The seed decides what is done and posted; the machine decides when it lands.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from tests.chaos import counted
from tests.chaos.junk import Junk
from tests.chaos.load import Load
from tests.chaos.nemesis import Done, Nemesis
from tests.chaos.replays import second_witness
from tests.chaos.tally import Group, Told, Verdict, judge
from tests.chaos.trace import trace
from tests.chaos.world import World
from tests.integration.client import Billed, Tollgate

CUSTOMERS = 6


@dataclass
class Report:
    """What was done and what came of it."""

    seed: int
    seconds: float
    events: dict[Told, int]
    statuses: Counter[str]
    slowest_s: float
    kills: int
    kinds: Counter[str]
    junk: int
    drained_s: float
    verdict: Verdict
    faults: list[Done] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """Events that were answered 200."""
        return self.events[Told.ACCEPTED]

    @property
    def good(self) -> bool:
        """Every event answered 200 counted once, every other at most once, and nothing else."""
        return self.verdict.good

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {each.value}" for each, count in self.events.items())
        total = sum(self.events.values())
        lines = [
            f"seed {self.seed}: {self.seconds:.0f} s, {total:,} events: {told}",
            f"answers: {dict(self.statuses)}; the slowest after {self.slowest_s:.1f} s",
            f"{len(self.faults)} faults {dict(self.kinds)}; {self.kills} processes killed;"
            f" {self.junk} foreign records; drained in {self.drained_s:.1f} s",
            str(self.verdict),
        ]
        if not self.good:
            lines += [*self.traces, "the faults, in order:", *map(str, self.faults)]
        return "\n".join(lines)


async def run(
    tollgate: Tollgate, world: World, *, seed: int, seconds: float | None, rate: int
) -> Report:
    """Load and faults for `seconds`, or until every fault was done once (None), at `rate`
    events/s; then the verdict."""
    name = f"chaos-{seed}-{uuid4().hex[:6]}"
    # One metric a customer, so that a draft's quantity is the sum of that customer's batches.
    exact = [{"name": name, "exists": True} for name in ("bytes", "region")]
    customers = [
        tollgate.billed(property_filters=exact, group_keys=[["region"]]) for _ in range(CUSTOMERS)
    ]
    connection = tollgate.run
    load = Load(
        world.api_urls,
        connection["token"],
        customers,
        name,
        rate,
        random.Random(f"load {seed}"),
    )
    junk = Junk(
        connection["kafka_bootstrap_servers"], name, random.Random(f"junk {seed}"), load.accepted
    )
    nemesis = Nemesis(world, random.Random(f"nemesis {seed}"), seconds)
    began = time.monotonic()
    await _together(load, junk, nemesis)
    elapsed = time.monotonic() - began
    drained_s = await counted.drain(tollgate)
    verdict = await _verdict(tollgate, load, customers)
    missing = await junk.missing(connection["database_url"])
    verdict.lost += [f"{key} (foreign, not in rejected_event)" for key in missing]
    verdict.unexpected += await asyncio.to_thread(world.not_final_once)
    verdict.unexpected += await asyncio.to_thread(_verify, tollgate)
    verdict.unexpected += await asyncio.to_thread(second_witness, tollgate)
    return Report(
        seed=seed,
        seconds=elapsed,
        events={told: load.tally.events(told) for told in Told},
        statuses=load.statuses,
        slowest_s=load.slowest_s,
        kills=nemesis.kills,
        kinds=nemesis.kinds,
        junk=len(junk.written),
        drained_s=drained_s,
        verdict=verdict,
        faults=nemesis.done,
        traces=await trace(tollgate.run, verdict.names),
    )


async def _together(load: Load, junk: Junk, nemesis: Nemesis) -> None:
    """The nemesis decides how long; a client that fails ends the run too."""
    stopping = asyncio.Event()

    async def nemesis_then_stop() -> None:
        try:
            await nemesis.run()
        finally:
            stopping.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(stopping))
        group.create_task(junk.run(stopping))
        group.create_task(nemesis_then_stop())


async def _verdict(tollgate: Tollgate, load: Load, customers: list[Billed]) -> Verdict:
    groups: dict[str, Group] = {}
    wrong = []
    for customer in customers:
        own = await counted.groups(tollgate, customer)
        assert not own.keys() & groups.keys(), "a batch was counted for two customers"
        groups |= own
        expected = sum(int(group.total) for group in own.values())
        found = await asyncio.to_thread(counted.quantity_on_drafts, tollgate, customer)
        if found != expected:
            wrong.append(f"the draft of {customer.alias} shows {found}, counted are {expected}")
    verdict = judge(load.tally, groups)
    verdict.unexpected += wrong
    return verdict


def _verify(tollgate: Tollgate) -> list[str]:
    """The oracle folds the whole log; what it says if it disagrees."""
    words = [sys.executable, "-m", "services", "verify", "--deep"]
    done = subprocess.run(
        [*words, "--data-dir", str(tollgate.data_dir)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return [] if done.returncode == 0 else [f"verify --deep: {done.stdout}{done.stderr}"]
