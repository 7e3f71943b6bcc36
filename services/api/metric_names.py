"""Every Prometheus metric there is, by name: a closed list. `text_of` writes them; nothing here
measures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.domain.conservation import Account
from services.runtime.conservation import Report

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Name:
    """A metric with a value a partition. `kind`: counter or gauge, as Prometheus has them."""

    name: str
    kind: str
    help: str
    value: Callable[[Account], int]


# Counters begin anew when another generation is promoted, as they do when a process starts.
BY_PARTITION = (
    # Records on usage.raw since the chain began: what producers were told is safe.
    Name("tollgate_accepted_total", "counter", "Events accepted.", lambda a: a.accepted),
    # Of them, the events in some aggregate or matched by no metric.
    Name("tollgate_counted_total", "counter", "Events counted, unmatched ones included.",
         lambda a: a.counted),
    # Of them, sightings of a transaction_id after the first within 34 days.
    Name("tollgate_duplicates_total", "counter", "Repeats of an event, conflicts included.",
         lambda a: a.duplicates),
    # Of the duplicates, those that say something else: a producer reuses ids.
    Name("tollgate_conflicts_total", "counter", "Repeats of an id with other content.",
         lambda a: a.conflicts),
    # Records that are no events, and events that every metric which matched them refused.
    Name("tollgate_rejected_total", "counter", "Events rejected.", lambda a: a.rejected),
    # Of the counted, those that no metric is about: a metric may be missing or its filter wrong.
    Name("tollgate_unmatched_total", "counter", "Events that no metric counts.",
         lambda a: a.unmatched),
    # accepted - (counted + duplicates + rejected + in flight): anything but 0 is an alarm.
    Name("tollgate_difference", "gauge", "Events not accounted for; 0 when all is well.",
         lambda a: a.difference),
    # What `tollgate verify` would list, with what to do: anything but 0 is an alarm.
    Name("tollgate_problems", "gauge", "Problems that tollgate verify explains.",
         lambda a: len(a.problems)),
)  # fmt: skip
# Accepted, and not yet taken by the stage in the label `stage`: the backlog.
IN_FLIGHT = "tollgate_in_flight"
# Positions of partitions that the topics do not have: anything but 0 is an alarm.
STRAYS = "tollgate_stray_partitions"
# Which generation of the aggregates is live; moves when a replay is promoted.
GENERATION = "tollgate_generation"


def text_of(report: Report) -> str:
    """The report in Prometheus' text format."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    for each in BY_PARTITION:
        yield from _head(each.name, each.kind, each.help)
        for account in report.accounts:
            yield f'{each.name}{{partition="{account.partition}"}} {each.value(account)}'
    yield from _head(IN_FLIGHT, "gauge", "Events accepted and not yet taken by a stage.")
    for account in report.accounts:
        flight = account.in_flight
        stages = {"dedup": flight.dedup, "rating": flight.rating, "projector": flight.projector}
        for stage, count in stages.items():
            yield f'{IN_FLIGHT}{{partition="{account.partition}",stage="{stage}"}} {count}'
    yield from _head(STRAYS, "gauge", "Positions of partitions that the topics do not have.")
    yield f"{STRAYS} {len(report.strays)}"
    yield from _head(GENERATION, "gauge", "The generation that is live.")
    yield f"{GENERATION} {report.generation}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
