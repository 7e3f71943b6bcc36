"""How much of everything: the full bench, and the quick one with the same keys."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and durations of the parts."""

    quick: bool
    warm_up_s: float
    sustained_s: float
    trial_s: float  # of a rate that is tried before it is sustained
    trials_max: int
    latency_s: float
    probes_per_s: float
    idle_probes: int
    accepted_bursts: int
    accepted_s: float
    single_s: float
    naive_rounds: int
    naive_s: float
    naive_batches: tuple[int, ...]  # smaller requests, which give no figure
    redis_ids: tuple[int, ...]
    growth_customers: int
    growth_chunk: int  # events in which cost is measured
    growth_between: int  # events from the first chunk to the last
    shape_events: int  # of a burst; how many there are in all is what deep verify takes so long for
    fresh: tuple[tuple[int, int], ...]  # customers, and events on the days between
    fresh_s: float
    scaling_s: float
    warm_starts: int


FULL = Scale(
    quick=False,
    warm_up_s=6.0,
    sustained_s=60.0,
    trial_s=12.0,
    trials_max=4,
    latency_s=60.0,
    probes_per_s=20.0,
    idle_probes=40,
    accepted_bursts=5,
    accepted_s=2.0,
    single_s=10.0,
    naive_rounds=3,
    naive_s=6.0,
    naive_batches=(10, 1),
    redis_ids=(100_000, 1_000_000, 10_000_000),
    growth_customers=100_000,
    growth_chunk=1_000_000,
    growth_between=9_000_000,
    shape_events=120_000,
    fresh=((100, 60_000), (10_000, 200_000), (100_000, 600_000)),
    fresh_s=12.0,
    scaling_s=6.0,
    warm_starts=3,
)
QUICK = Scale(
    quick=True,
    warm_up_s=2.0,
    sustained_s=10.0,
    trial_s=4.0,
    trials_max=1,
    latency_s=25.0,  # one stall of a tenth of a second is no hundredth of the requests
    probes_per_s=20.0,
    idle_probes=15,
    accepted_bursts=2,
    accepted_s=1.0,
    single_s=3.0,
    naive_rounds=2,
    naive_s=2.0,
    naive_batches=(),
    redis_ids=(100_000, 1_000_000),
    growth_customers=5_000,
    growth_chunk=100_000,
    growth_between=100_000,
    shape_events=20_000,
    fresh=((100, 20_000), (1_000, 20_000)),
    fresh_s=5.0,
    scaling_s=2.0,
    warm_starts=1,
)
