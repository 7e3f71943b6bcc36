"""The contract of the projection, in memory and in PostgreSQL: positions and aggregates move
together or not at all, and every key and dead letter is kept as it is.
"""

import asyncio
from copy import deepcopy
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from services.domain.aggregate import Aggregate, AggregateKey, Latest, hour_of
from services.projector.projection import Flush, Position, PositionMoved
from services.runtime.records import RatedConflict, RatedRejection, instant_of
from tests.contract.conftest import Loop
from tests.contract.projections import AT, Subject, in_memory, in_postgres

METRIC = UUID(int=1)
KEY = AggregateKey("c", METRIC, ("eu",), hour_of(AT))


def count(number: int = 1) -> dict[AggregateKey, Aggregate]:
    """Usage to recognise."""
    return {KEY: Aggregate(number)}


@pytest.fixture(params=["memory", "postgres"])
def subject(request: pytest.FixtureRequest, loop: Loop) -> Subject:
    if request.param == "memory":
        return in_memory()
    return loop.run(in_postgres(request.getfixturevalue("pool")))


def test_a_partition_has_no_position_until_its_chain_begins(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        assert await subject.projection.positions([0, 1, 2]) == {}
        await subject.apply(Flush({0: subject.advance(0, counted=3)}))
        await subject.apply(Flush({2: subject.advance(2, counted=5)}))
        found = await subject.projection.positions([0, 1, 2])
        assert found == {0: Position(3, 0), 2: Position(5, 0)}
        assert await subject.projection.positions([2]) == {2: Position(5, 0)}
        assert await subject.projection.positions([]) == {}

    loop.run(scenario())


def test_position_fates_and_aggregates_move_together(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.apply(
            subject.flush(count(4), counted=5, duplicates=3, conflicts=1, rejected=2, unmatched=1)
        )
        await subject.apply(subject.flush(count(2), counted=2, duplicates=1))
        assert await subject.projection.positions([0]) == {0: Position(13, 1)}
        assert await subject.read.fates(0) == (7, 4, 1, 2, 1)
        assert await subject.read.aggregates() == count(6)

    loop.run(scenario())


@pytest.mark.parametrize("held", [None, Position(0, 0), Position(9, 1), Position(10, 0)])
def test_a_flush_from_another_position_applies_nothing(
    loop: Loop, subject: Subject, held: Position | None
) -> None:
    async def scenario() -> None:
        await subject.apply(subject.flush(count(), counted=10))
        await subject.apply(subject.flush(count(), duplicates=5))
        assert await subject.projection.positions([0]) == {0: Position(15, 1)}
        stale = subject.flush(count(100), [(0, 1, rejection(12))], counted=3)
        stale.advances[0].expected = held
        with pytest.raises(PositionMoved):
            await subject.projection.apply(stale)
        assert await subject.projection.positions([0]) == {0: Position(15, 1)}
        assert await subject.read.aggregates() == count(2)
        assert await subject.read.rejections() == []
        assert await subject.read.fates(0) == (10, 5, 0, 0, 0)

    loop.run(scenario())


def test_a_position_that_is_expected_and_not_there_applies_nothing(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        flush = subject.flush(count())
        flush.advances[0].expected = Position(0, 0)
        with pytest.raises(PositionMoved):
            await subject.projection.apply(flush)
        assert await subject.read.aggregates() == {}
        assert await subject.projection.positions([0]) == {}

    loop.run(scenario())


@pytest.mark.parametrize("moved", [0, 1])
def test_one_moved_position_of_several_stops_the_whole_flush(
    loop: Loop, subject: Subject, moved: int
) -> None:
    async def scenario() -> None:
        await subject.apply(Flush({p: subject.advance(p, counted=1) for p in (0, 1)}, count()))
        before = await subject.projection.positions([0, 1])
        stale = Flush({p: subject.advance(p, counted=1) for p in (0, 1)}, count())
        stale.advances[moved].expected = Position(77, 7)
        with pytest.raises(PositionMoved):
            await subject.projection.apply(stale)
        assert await subject.projection.positions([0, 1]) == before
        assert await subject.read.aggregates() == count(1)

    loop.run(scenario())


def test_of_two_projectors_with_the_same_range_one_applies_it(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.apply(subject.flush(count()))
        for _ in range(5):
            flushes = [subject.flush(count()) for _ in range(4)]
            outcomes = await asyncio.gather(
                *(subject.projection.apply(flush) for flush in flushes), return_exceptions=True
            )
            assert outcomes.count(None) == 1
            assert sum(isinstance(outcome, PositionMoved) for outcome in outcomes) == 3
            subject.positions = dict(await subject.projection.positions([0]))
        assert await subject.read.aggregates() == count(6)

    loop.run(scenario())


def test_applying_changes_none_of_what_it_was_given(loop: Loop, subject: Subject) -> None:
    part = Aggregate(1, distinct={"a"})

    async def scenario() -> None:
        await subject.apply(subject.flush({KEY: part}))
        await subject.apply(subject.flush({KEY: Aggregate(1, distinct={"b"})}))
        assert part == Aggregate(1, distinct={"a"})

    loop.run(scenario())


def rejection(offset: int, metric_id: UUID | None = METRIC) -> RatedRejection:
    """A dead letter with bytes that are no text."""
    return RatedRejection(offset, "not_a_number", "why", metric_id, b"\xff", b"\x00\xfe", 1_000)


def test_a_rejected_event_keeps_everything(loop: Loop, subject: Subject) -> None:
    bare = RatedRejection(6, "not_json", "", None, None, None, 1_000)

    async def scenario() -> None:
        found = [(0, 1, rejection(5)), (0, 1, rejection(5, UUID(int=2))), (0, 1, bare)]
        await subject.apply(subject.flush(None, found, rejected=2))
        assert await subject.read.rejections() == [
            (0, 5, METRIC, "not_a_number", "why", b"\xff", b"\x00\xfe"),
            (0, 5, UUID(int=2), "not_a_number", "why", b"\xff", b"\x00\xfe"),
            (0, 6, None, "not_json", "", None, None),
        ]

    loop.run(scenario())


def test_a_conflict_is_kept_where_it_can_be_found(loop: Loop, subject: Subject) -> None:
    at = 1_764_000_000_123
    name = "\U0001f600 " * 64
    found = [(0, RatedConflict(7, 2, name, at)), (0, RatedConflict(6, 2**52, "b", at + 1))]

    async def scenario() -> None:
        await subject.apply(subject.flush(None, None, found, duplicates=9, conflicts=2))
        assert await subject.read.conflicts() == [
            (0, 6, 2**52, "b", instant_of(at + 1)),
            (0, 7, 2, name, instant_of(at)),
        ]
        assert await subject.read.fates(0) == (0, 9, 2, 0, 0)

    loop.run(scenario())


def test_a_flush_from_another_position_brings_no_conflict(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        stale = subject.flush(None, None, [(0, RatedConflict(0, 0, "a", 1))], duplicates=1)
        stale.advances[0].expected = Position(5, 5)
        with pytest.raises(PositionMoved):
            await subject.projection.apply(stale)
        assert await subject.read.conflicts() == []

    loop.run(scenario())


def test_a_conflict_that_is_there_already_fails_the_whole_flush(
    loop: Loop, subject: Subject
) -> None:
    conflicts = [(0, RatedConflict(1, 0, "a", 1))]

    async def scenario() -> None:
        await subject.apply(subject.flush(count(), None, conflicts, counted=1, duplicates=1))
        again = subject.flush(count(), None, conflicts, counted=1, duplicates=1)
        with pytest.raises((AssertionError, asyncpg.UniqueViolationError)):
            await subject.projection.apply(again)
        assert await subject.projection.positions([0]) == {0: Position(2, 0)}
        assert await subject.read.aggregates() == count(1)
        assert len(await subject.read.conflicts()) == 1

    loop.run(scenario())


def test_keys_that_look_alike_are_kept_apart(loop: Loop, subject: Subject) -> None:
    groups: list[tuple[str | None, ...]] = [
        (),
        (None,),
        ("",),
        ("null",),
        ("None",),
        ("a", "b"),
        ("a,b",),
        ('a","b',),
        ("\u00e4",),
        ("a\u0308",),  # the same letter, written as two characters
        ("a",),
        ("A",),
        ("a ",),
    ]
    usage = {KEY._replace(group=group): Aggregate(n) for n, group in enumerate(groups, 1)}
    usage[KEY._replace(reference="C")] = Aggregate(100)
    usage[KEY._replace(hour=KEY.hour + 1)] = Aggregate(200)
    usage[KEY._replace(metric_id=UUID(int=2))] = Aggregate(300)

    async def scenario() -> None:
        await subject.apply(subject.flush(deepcopy(usage)))
        assert await subject.read.aggregates() == usage

    loop.run(scenario())


def test_the_largest_keys_and_numbers_are_held_exactly(loop: Loop, subject: Subject) -> None:
    number = Decimal("-" + "9" * 38 + "." + "9" * 38)
    latest = Latest(AT.replace(year=9998, microsecond=999_999), 1_023, 2**62, number)
    widest = AggregateKey("\U0001f600" * 128, METRIC, ("\x01" * 1_024,), hour_of(AT))
    many = AggregateKey("\U0001f600" * 128, METRIC, ("\u6f22" * 341, None), 0)
    usage = {
        widest: Aggregate(2**40, number, number, latest, {"x" * 256, ""}),
        many: Aggregate(1, Decimal("1e-38"), Decimal("1E+37"), None, set()),
    }

    async def scenario() -> None:
        await subject.apply(subject.flush(deepcopy(usage)))
        assert await subject.read.aggregates() == usage

    loop.run(scenario())
