"""Conservation: of every partition, accepted = counted + duplicates + rejected + in flight.

Pure: what the log and the database say is handed in, and what does not add up comes out, each with
what to do. Offsets are raw offsets and ends exclusive, unless they say otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be wrong with a partition: a closed list."""

    LOG_ENDS_EARLY = "log_ends_early"
    LOG_BEGINS_LATE = "log_begins_late"
    LOG_MADE_ANEW = "log_made_anew"
    STAGES_OUT_OF_ORDER = "stages_out_of_order"
    CHAIN_STARTS_ELSEWHERE = "chain_starts_elsewhere"
    POSITION_WITHOUT_RECORD = "position_without_record"
    DOES_NOT_ADD_UP = "does_not_add_up"
    COUNTERS_IMPOSSIBLE = "counters_impossible"
    REJECTIONS_DIFFER = "rejections_differ"
    CONFLICTS_DIFFER = "conflicts_differ"
    NO_SUCH_PARTITION = "no_such_partition"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, explained."""

    kind: Kind
    partition: int
    what: str
    to_do: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows beside the counters of one partition. Counting them takes as long as there are rows."""

    # Rows of rejected events: by dedup (one an offset), and offsets that a metric refused.
    refused_by_dedup: int = 0
    refused_by_metrics: int = 0
    refused_outside: int = 0  # rows beyond [first_raw, next_raw)
    conflict_rows: int = 0
    conflicts_outside: int = 0  # rows beyond [first_raw, next_raw)


@dataclass(frozen=True, slots=True)
class Projected:
    """What the database says of one partition, in one snapshot."""

    first_raw: int  # where the chain began
    next_raw: int
    next_rated: int  # offset in usage.rated of the record after the last one applied
    counted: int  # unmatched included
    duplicates: int  # conflicts included
    conflicts: int
    rejected: int
    unmatched: int
    rows: Rows | None = None  # None: not counted, so not checked


@dataclass(frozen=True, slots=True)
class Ends:
    """What the log says of one partition, read after `Projected`, each topic after the one that is
    made from it: so a stage that goes on meanwhile never seems to be ahead."""

    raw_start: int  # inclusive
    raw_end: int
    judged: int | None = None  # end of usage.unique; None: dedup has written nothing
    rated: int | None = None  # end of usage.rated; None: rating has written nothing
    # Where the first record of each output begins; None when that record is gone or never was.
    unique_first: int | None = None
    rated_first: int | None = None
    # Whether the raw record before `judged` has the time that usage.unique says; None: it is gone.
    raw_is_the_same: bool | None = None
    # End of the usage.rated record before `Projected.next_rated`; None: there is none.
    applied: int | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """Accepted and not projected yet, by the stage that has it before it."""

    dedup: int
    rating: int
    projector: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.dedup + self.rating + self.projector


@dataclass(frozen=True, slots=True)
class Account:
    """One partition's sum. `difference` is accepted - (counted + duplicates + rejected + in
    flight), and 0 when it adds up."""

    partition: int
    accepted: int
    counted: int
    duplicates: int
    conflicts: int
    rejected: int
    unmatched: int
    in_flight: InFlight
    difference: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Stages:
    """Where each stage of one partition stands: the end of its output."""

    judged: int
    rated: int
    projected: int


def stages_of(ends: Ends, projected: Projected | None) -> Stages:
    """A stage that has not begun stands where the chain begins."""
    begins = ends.raw_start
    for known in (ends.unique_first, ends.rated_first):
        begins = begins if known is None else known
    begins = begins if projected is None else projected.first_raw
    return Stages(
        begins if ends.judged is None else ends.judged,
        begins if ends.rated is None else ends.rated,
        begins if projected is None else projected.next_raw,
    )


def account(partition: int, ends: Ends, projected: Projected | None) -> Account:
    """The sum of one partition, and everything that is wrong with it."""
    stages = stages_of(ends, projected)
    held = projected or Projected(stages.projected, stages.projected, 0, 0, 0, 0, 0, 0)
    in_flight = InFlight(
        max(ends.raw_end - stages.judged, 0),
        max(stages.judged - stages.rated, 0),
        max(stages.rated - stages.projected, 0),
    )
    accepted = ends.raw_end - held.first_raw
    accounted = held.counted + held.duplicates + held.rejected + in_flight.total
    found = [*_log_problems(ends, stages), *_order_problems(stages)]
    if projected is not None:
        found += [*_chain_problems(ends, projected), *_counter_problems(projected)]
        if projected.rows is not None:
            found += _row_problems(projected, projected.rows)
    if accepted != accounted and not found:
        found.append(
            (
                Kind.DOES_NOT_ADD_UP,
                f"{accepted} accepted, but {held.counted} counted + {held.duplicates} duplicates +"
                f" {held.rejected} rejected + {in_flight.total} in flight = {accounted}",
                "somebody changed projection_position; restore it, or replay and promote",
            )
        )
    return Account(
        partition=partition,
        accepted=accepted,
        counted=held.counted,
        duplicates=held.duplicates,
        conflicts=held.conflicts,
        rejected=held.rejected,
        unmatched=held.unmatched,
        in_flight=in_flight,
        difference=accepted - accounted,
        problems=tuple(Problem(kind, partition, what, to_do) for kind, what, to_do in found),
    )


def not_a_partition(partition: int, partitions: int) -> Problem:
    """A position of a partition that the topics do not have."""
    return Problem(
        Kind.NO_SUCH_PARTITION,
        partition,
        f"the database has a position for it, but there are {partitions} partitions",
        "set TOLLGATE_PARTITIONS to the number with which the topics were made",
    )


Found = tuple[Kind, str, str]
_RESTORE = "restore the topic from a copy; or, what is gone being gone, replay what is left"


def _log_problems(ends: Ends, stages: Stages) -> Iterator[Found]:
    if ends.raw_end < stages.judged:
        yield (
            Kind.LOG_ENDS_EARLY,
            f"usage.raw ends at {ends.raw_end}, but dedup has judged up to {stages.judged}: the"
            " topic was truncated or made anew",
            _RESTORE,
        )
    elif ends.raw_is_the_same is False:
        yield (
            Kind.LOG_MADE_ANEW,
            f"the record at raw offset {stages.judged - 1} is not the one that dedup judged: the"
            " topic usage.raw was made anew",
            _RESTORE,
        )
    if ends.raw_start > stages.judged:
        yield (
            Kind.LOG_BEGINS_LATE,
            f"usage.raw begins at {ends.raw_start}, but dedup goes on at {stages.judged}: the"
            f" {ends.raw_start - stages.judged} records between are gone and were never counted",
            "restore them from a copy; keep dedup running, and usage.raw longer than it may stop",
        )


def _order_problems(stages: Stages) -> Iterator[Found]:
    if stages.rated > stages.judged:
        yield _out_of_order("usage.rated", stages.rated, "usage.unique", stages.judged)
    if stages.projected > stages.rated:
        yield _out_of_order("the database", stages.projected, "usage.rated", stages.rated)


def _out_of_order(later: str, ahead: int, earlier: str, behind: int) -> Found:
    return (
        Kind.STAGES_OUT_OF_ORDER,
        f"{later} accounts for raw offsets up to {ahead}, but {earlier}, from which it is made,"
        f" ends at {behind}: the topic {earlier} was truncated or made anew",
        _RESTORE,
    )


def _chain_problems(ends: Ends, projected: Projected) -> Iterator[Found]:
    first = projected.first_raw
    for topic, begins in (("usage.unique", ends.unique_first), ("usage.rated", ends.rated_first)):
        if begins is not None and begins != first:
            yield (
                Kind.CHAIN_STARTS_ELSEWHERE,
                f"the database counts from raw offset {first}, but {topic} begins with {begins}",
                f"{topic} or the database is of another installation; bring the right two together",
            )
    if ends.raw_start < first:
        yield (
            Kind.CHAIN_STARTS_ELSEWHERE,
            f"usage.raw begins at {ends.raw_start}, before the chain, which begins at {first}: the"
            f" {first - ends.raw_start} records between were never counted",
            "usage.unique, usage.rated or the database is of another installation; or replay --from"
            " raw",
        )
    if (ends.rated or 0) >= projected.next_raw and ends.applied != projected.next_raw:
        stands = "is gone" if ends.applied is None else f"ends at raw offset {ends.applied}"
        yield (
            Kind.POSITION_WITHOUT_RECORD,
            f"the database has applied usage.rated up to offset {projected.next_rated} and raw"
            f" offset {projected.next_raw}, but the record before that {stands}",
            "usage.rated was made anew, or the database is of another installation; bring the"
            " right two together",
        )


def _counter_problems(held: Projected) -> Iterator[Found]:
    passed = held.next_raw - held.first_raw
    fates = held.counted + held.duplicates + held.rejected
    if passed != fates:
        yield (
            Kind.DOES_NOT_ADD_UP,
            f"the projector passed {passed} raw offsets, but {held.counted} counted +"
            f" {held.duplicates} duplicates + {held.rejected} rejected = {fates}",
            "somebody changed projection_position; restore it, or replay and promote",
        )
    numbers = (held.counted, held.duplicates, held.conflicts, held.rejected, held.unmatched)
    if min(numbers) < 0 or held.conflicts > held.duplicates or held.unmatched > held.counted:
        yield (
            Kind.COUNTERS_IMPOSSIBLE,
            f"of {held.duplicates} duplicates {held.conflicts} are conflicts, of {held.counted}"
            f" counted {held.unmatched} are unmatched: no events make these numbers",
            "somebody changed projection_position; restore it, or replay and promote",
        )


def _row_problems(held: Projected, rows: Rows) -> Iterator[Found]:
    # By dedup: each is rejected. By metrics: only where no other metric counted the event, which
    # the rows do not tell, so these are bounds; a deep verify knows by metric and reason.
    least, most = rows.refused_by_dedup, rows.refused_by_dedup + rows.refused_by_metrics
    if not least <= held.rejected <= most or rows.refused_outside:
        yield (
            Kind.REJECTIONS_DIFFER,
            f"{held.rejected} events are rejected, but rejected_event has {least} that are no"
            f" events and {rows.refused_by_metrics} that a metric refused,"
            f" {rows.refused_outside} of them beyond what was projected",
            "somebody changed rejected_event; restore it, or replay and promote",
        )
    if rows.conflict_rows != held.conflicts or rows.conflicts_outside:
        yield (
            Kind.CONFLICTS_DIFFER,
            f"{held.conflicts} events are conflicts, but conflicting_event has"
            f" {rows.conflict_rows}, {rows.conflicts_outside} of them beyond what was projected",
            "somebody changed conflicting_event; restore it, or replay and promote",
        )
