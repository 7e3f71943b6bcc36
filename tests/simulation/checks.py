"""What must hold once every fault is over and everything has drained."""

from collections.abc import Callable
from itertools import groupby

from services.domain.chain import Gap, Range, Repeat, link
from services.domain.meter import BillableMetric
from services.domain.reference.fold import Fate, PartitionFold, RawRecord, fold
from services.domain.reference.usage import Usage
from services.projector.projection_memory import MemoryProjection
from services.runtime.log import RATED, RAW, UNIQUE
from services.runtime.records import RatedBatch, decode_rated, decode_unique
from tests.domain.reference_cases import as_usage
from tests.simulation.catalogs import UNITS
from tests.simulation.clients import Truth
from tests.simulation.profile import DAY_MS
from tests.simulation.scheduler import Failure
from tests.simulation.servers import Servers

REMEMBERED_MS = 34 * DAY_MS
FATES = ("counted", "duplicates", "conflicts", "rejected", "unmatched")


def check(servers: Servers, truth: Truth, partitions: int) -> None:
    """Raises Failure for the first promise that was not kept. Kinds: lost, doubled, wrong
    (amounts or fates), chain, catalog, older (counted under a catalog older than its generation's),
    stuck."""
    for partition in range(partitions):
        check_drained(servers, partition)
    check_events(servers, truth)
    for partition in range(partitions):
        check_unique_chain(servers, partition)
        check_catalog_versions(servers, partition)
    for number, projection in servers.generations.projections.items():
        check_generation(servers, number, projection, partitions)


def check_generation(
    servers: Servers, number: int, projection: MemoryProjection, partitions: int
) -> None:
    """A generation, as far as it has come, is the oracle's count of the same records."""
    usage: Usage = {}
    for partition in range(partitions):
        check_partition(servers, number, partition, partitions, usage)
    check_amounts(projection, usage)


def check_events(
    servers: Servers, truth: Truth, may_lose: Callable[[str], bool] = lambda _: False
) -> None:
    """What clients were told: answered 200, once; any other, at most once. `may_lose`: ids that
    may be missing, but not be counted twice."""
    total = sum(
        int(aggregate.total)
        for key, aggregate in servers.projection.aggregates.items()
        if key.metric_id == UNITS.id
    )
    counted = {told.number: total >> 3 * told.number & 7 for told in truth.events}
    forgotten = ids_forgotten(servers)
    by_id = sorted(truth.events, key=lambda told: told.transaction_id)
    for transaction_id, group in groupby(by_id, key=lambda told: told.transaction_id):
        events = list(group)
        if transaction_id in forgotten:
            continue
        times = sum(counted[told.number] for told in events)
        if times > 1:
            raise Failure("doubled", f"{transaction_id} was counted {times} times")
        # A conflict that came first and cannot be counted leaves nothing to count.
        countable = all(told.countable for told in events)
        answered_200 = any(told.answered_200 for told in events)
        if not times and countable and answered_200 and not may_lose(transaction_id):
            raise Failure("lost", f"{transaction_id} was answered 200 and is not counted")


def ids_forgotten(servers: Servers) -> set[str]:
    """Ids that came again so late that they were, or may have been, new: the oracle knows."""
    since: dict[str, int] = {}
    found: set[str] = set()
    for (topic, _), records in servers.log.partitions.items():
        for record in records if topic == RAW else ():
            name = (record.key or b"").decode()
            if record.timestamp_ms - since.setdefault(name, record.timestamp_ms) > REMEMBERED_MS:
                found.add(name)
    return found


def check_drained(servers: Servers, partition: int) -> None:
    """Every raw offset went all the way."""
    end = len(servers.log.partitions[RAW, partition])
    position = servers.projection.held.get(partition)
    reached = 0 if position is None else position.next_raw
    if reached != end:
        raise Failure("stuck", f"partition {partition} stands at {reached} of {end}")


def check_unique_chain(servers: Servers, partition: int) -> None:
    """No range of usage.unique begins beyond what was reached before it."""
    reached = 0
    for record in servers.log.partitions[UNIQUE, partition]:
        batch = decode_unique(record.value, UNIQUE)
        if batch.first > reached:
            raise Failure("chain", f"{UNIQUE}[{partition}]@{record.offset}: gap at {reached}")
        reached = max(reached, batch.last + 1)


def check_catalog_versions(servers: Servers, partition: int) -> None:
    """No event is rated with a catalog older than itself."""
    for _, batch in rated_batches(servers, partition):
        for offset in range(batch.first, batch.last + 1):
            answered = servers.version_at[partition, offset]
            if batch.catalog_version < answered:
                raise Failure(
                    "catalog",
                    f"raw offset {partition}/{offset} was rated with version"
                    f" {batch.catalog_version}, but {answered} was answered before it was posted",
                )


def check_partition(
    servers: Servers, number: int, partition: int, partitions: int, usage: Usage
) -> None:
    """Every offset of one partition, up to where a generation stands, has the oracle's fate. Adds
    to `usage`."""
    projection = servers.generations.projections[number]
    floor = servers.generations.known(number).catalog_version
    history = servers.history()
    ranges = {
        offset: (batch.catalog_version, place)
        for place, batch in rated_batches(servers, partition)
        for offset in range(batch.first, batch.last + 1)
    }
    counted_live = servers.counted_live.get((number, partition), {})

    def metrics_at(offset: int) -> tuple[BillableMetric, ...]:
        if offset not in ranges:
            raise Failure("chain", f"raw offset {partition}/{offset} was counted and not rated")
        version, place = ranges[offset]
        if offset not in counted_live or version >= floor:
            return history.in_force(version, floor).metrics
        # A rater that was paused since before the generation was made: nobody can know of it.
        if place < counted_live[offset]:
            raise Failure("older", f"raw offset {partition}/{offset} was promoted over: {floor}")
        return history.in_force(version, 0).metrics

    position = projection.held.get(partition)
    reached = 0 if position is None else position.next_raw
    oracle = PartitionFold(partition, partitions, metrics_at, usage)
    records = [
        RawRecord(record.offset, record.timestamp_ms, record.key, record.value)
        for record in servers.log.partitions[RAW, partition][:reached]
    ]
    fates: list[Fate] = [fate for _, fate in fold(oracle, records)]
    found = projection.fates.get(partition)
    for name in FATES if reached else ():
        if getattr(found, name) != getattr(oracle.totals, name):
            raise Failure(
                "wrong", f"generation {number}, partition {partition}: {found}, {oracle.totals}"
            )
    check_rejections(projection, partition, fates)
    check_conflicts(projection, partition, fates)


def rated_batches(servers: Servers, partition: int) -> list[tuple[int, RatedBatch]]:
    """The ranges of usage.rated that count, with their places: each whole, one after the other."""
    batches: list[tuple[int, RatedBatch]] = []
    reached: int | None = None
    for record in servers.log.partitions[RATED, partition]:
        batch = decode_rated(record.value, RATED)
        arrived = Range(batch.first, batch.last)
        step = link(reached, arrived)
        if isinstance(step, Repeat):
            continue
        if isinstance(step, Gap) or step.range != arrived:
            raise Failure("chain", f"{RATED}[{partition}]@{record.offset}: {arrived}, {step}")
        batches.append((record.offset, batch))
        reached = batch.last + 1
    return batches


def check_rejections(projection: MemoryProjection, partition: int, fates: list[Fate]) -> None:
    """Every rejection is kept once, with its reason."""
    expected = sorted(
        (offset, str(metric), reason.value)
        for offset, fate in enumerate(fates)
        for metric, reason in fate.reasons
    )
    found = sorted(
        (rejection.offset, str(rejection.metric_id), rejection.reason)
        for place, _, rejection in projection.rejections
        if place == partition
    )
    if found != expected:
        raise Failure("wrong", f"partition {partition} rejects {found}, not {expected}")


def check_conflicts(projection: MemoryProjection, partition: int, fates: list[Fate]) -> None:
    """Every conflict can be found."""
    expected = [offset for offset, fate in enumerate(fates) if fate.kind == "conflict"]
    found = sorted(offset for place, offset in projection.conflicts if place == partition)
    if found != expected:
        raise Failure("wrong", f"partition {partition} has conflicts {found}, not {expected}")


def check_amounts(projection: MemoryProjection, usage: Usage) -> None:
    """Every aggregate is the oracle's."""
    found = as_usage(projection.aggregates)
    if found != usage:
        keys = [key for key in {**found, **usage} if found.get(key) != usage.get(key)]
        raise Failure("wrong", f"{keys[0]}: {found.get(keys[0])}, not {usage.get(keys[0])}")
