"""The figures: their names, what they must be, and how many numbers become one. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must be, and what is aimed at. `more`: larger is better."""

    must: float
    aim: float
    more: bool

    def met(self, value: float) -> bool:
        """Whether the figure is what it must be."""
        return value >= self.must if self.more else value <= self.must

    def aim_met(self, value: float) -> bool:
        """Whether it is what was aimed at."""
        return value >= self.aim if self.more else value <= self.aim


TARGETS = {
    "accepted_per_s": Target(80_000, 120_000, more=True),
    "end_to_end_per_s": Target(30_000, 50_000, more=True),
    "cpu_us_per_event": Target(50, 35, more=False),
    "draft_p99_s": Target(1.0, 0.5, more=False),
    "draft_idle_p50_s": Target(0.3, 0.15, more=False),
    "answer_p99_ms": Target(50, 20, more=False),
    "redis_bytes_per_id": Target(64, 40, more=False),
    "replay_ratio": Target(3, 5, more=True),
    "naive_ratio": Target(8, 15, more=True),
    "single_per_s": Target(3_000, 6_000, more=True),
    "cost_growth": Target(1.2, 1.05, more=False),
    "resident_gb": Target(1.0, 0.6, more=False),
    "warm_start_s": Target(8, 4, more=False),
}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed (nearest rank): always one
    that was measured, never one in between."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """What is told of a set of latencies."""
    if not values:
        return {"count": 0}
    return {
        "count": len(values),
        "p50": percentile(values, 0.5),
        "p99": percentile(values, 0.99),
        "p99_9": percentile(values, 0.999),
        "max": max(values),
    }


def median(values: Sequence[float]) -> float:
    """The middle one, the lower of two."""
    return percentile(values, 0.5)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How fast y grows with x, by least squares; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    spread_x = sum((x - x_mean) ** 2 for x, _ in points)
    if spread_x == 0:
        return 0.0
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread_x


def table(figures: dict[str, float | None]) -> str:
    """Key, figure, must, aim, and whether it is met."""
    lines = [f"{'figure':<20} {'measured':>12} {'must':>12} {'aim':>12}"]
    for key, target in TARGETS.items():
        value = figures.get(key)
        sign = ">=" if target.more else "<="
        bounds = f"{sign + shown(target.must):>12} {sign + shown(target.aim):>12}"
        if value is None:
            lines.append(f"{key:<20} {'not measured':>12} {bounds}")
            continue
        verdict = "aim" if target.aim_met(value) else "ok" if target.met(value) else "MISSED"
        lines.append(f"{key:<20} {shown(value):>12} {bounds}  {verdict}")
    return "\n".join(lines)


def shown(value: float) -> str:
    """Three digits or more."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
