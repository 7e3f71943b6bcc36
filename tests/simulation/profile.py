"""What one seed is made of: how much of everything, and how often each fault strikes.

Each fault is wholly off in about half of the seeds: a fault that is always there hides what only
happens without it.
"""

from dataclasses import dataclass
from random import Random

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# Chance at each of its opportunities, when the seed has the fault at all.
_RATES = {
    # at a point where a process waits
    "kill": 0.012,
    # at a request to a server
    "failed": 0.02,  # not applied, and the caller is told so
    "unknown": 0.02,  # applied, and the caller is told that it failed
    "late": 0.02,  # the caller is told that it failed, and it is applied some time later
    # at every step while a request waits
    "timeout": 0.003,
    # at a poll
    "redelivery": 0.1,
    # of every step of the scheduler
    "freeze": 0.006,
    "rebalance": 0.012,
    "redis_snapshot": 0.01,
    "redis_lost_suffix": 0.006,
    "redis_flush": 0.003,
    "redis_replaced": 0.003,
    "catalog_change": 0.008,
    "foreign_record": 0.008,
    "client_gives_up_waiting": 0.006,
    "hours_pass": 0.004,
    "look": 0.01,  # no fault: rating looks whether its source is still the same topic
}
FAULTS = tuple(_RATES)


@dataclass(frozen=True, slots=True)
class Profile:
    """One seed's measures."""

    rates: dict[str, float]
    partitions: int
    workers: dict[str, int]  # processes a stage
    clients: int
    requests: int  # a client
    days_pass: bool  # clients use their ids again after 33 to 35 days


def draw_profile(rng: Random) -> Profile:
    """The measures of the seed whose random numbers these are."""
    return Profile(
        rates={
            name: rate * rng.choice((1, 1, 3)) if rng.random() < 0.5 else 0.0
            for name, rate in _RATES.items()
        },
        partitions=rng.choice((1, 1, 2, 3)),
        workers={
            "gateway": rng.choice((1, 2)),
            "dedup": rng.choice((1, 2, 2)),
            "rating": rng.choice((1, 2)),
            "projector": rng.choice((1, 2)),
            "operator": rng.choice((0, 0, 0, 1, 2)),  # who replay
        },
        clients=rng.choice((1, 2, 3)),
        requests=rng.choice((1, 2, 4)),
        days_pass=rng.random() < 0.3,
    )
