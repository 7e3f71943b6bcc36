"""Conservation over the memory log: it adds up at every moment of real traffic, and every kind of
problem there is shows when it is made, by name and with what to do.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from services.api.metric_names import BY_PARTITION, text_of
from services.domain.conservation import Kind, Projected, Rows
from services.ops.verify_show import as_text
from services.runtime.conservation import Report, as_document, report_of
from services.runtime.log import RATED, RAW, UNIQUE, Record
from tests.pipeline.harness import PARTITIONS, Pipeline, event

RawRow = dict[int, Projected]


def at(record: Record, offset: int) -> Record:
    """The same record at another offset."""
    return structs.replace(record, offset=offset)


def rows_of(pipeline: Pipeline) -> RawRow:
    """What the database would say."""
    rows: RawRow = {}
    for partition, fate in pipeline.projection.fates.items():
        refused = [r for place, _, r in pipeline.projection.rejections if place == partition]
        rows[partition] = Projected(
            first_raw=fate.first_raw,
            next_raw=pipeline.projection.held[partition].next_raw,
            next_rated=pipeline.projection.held[partition].next_rated,
            counted=fate.counted,
            duplicates=fate.duplicates,
            conflicts=fate.conflicts,
            rejected=fate.rejected,
            unmatched=fate.unmatched,
            rows=Rows(
                refused_by_dedup=sum(r.metric_id is None for r in refused),
                refused_by_metrics=len({r.offset for r in refused if r.metric_id is not None}),
                conflict_rows=sum(place == partition for place, _ in pipeline.projection.conflicts),
            ),
        )
    return rows


def report(pipeline: Pipeline, rows: RawRow | None = None) -> Report:
    """What verify finds."""
    rows = rows_of(pipeline) if rows is None else rows
    return asyncio.run(report_of(pipeline.log, 0, rows, PARTITIONS))


def traffic() -> Pipeline:
    """Every fate, in two ranges a partition, and some of it still in flight."""
    pipeline = Pipeline()

    async def drive() -> None:
        for _ in range(2):
            pipeline.log.now_ms += 1_000
            pipeline.post(*(event(str(number)) for number in range(10)))
            pipeline.post(event("1", "7"), event("odd", "many"))
            for partition in range(PARTITIONS):
                pipeline.log.put(RAW, partition, None, b"junk")
            await pipeline.run()
        pipeline.post(*(event(f"late {number}") for number in range(20)))
        await pipeline.run_dedup(0)
        pipeline.post(*(event(f"later {number}") for number in range(20)))

    asyncio.run(drive())
    return pipeline


@given(st.lists(st.sampled_from(["post", "dedup", "rating", "projector"]), max_size=40))
def test_it_adds_up_at_every_moment(moments: list[str]) -> None:
    pipeline = Pipeline()
    names = iter(range(1_000))

    async def drive() -> None:
        for moment in moments:
            if moment == "post":
                pipeline.post(*(event(str(next(names) // 2)) for _ in range(3)))
                pipeline.log.put(RAW, 0, None, b"junk")
                continue
            for partition in range(PARTITIONS):
                await getattr(pipeline, f"run_{moment}")(partition)
            found = await report_of(pipeline.log, 0, rows_of(pipeline), PARTITIONS)
            assert found.problems == ()
            for account in found.accounts:
                assert account.accepted == len(pipeline.log.partitions[RAW, account.partition])
                assert account.difference == 0

    asyncio.run(drive())


def test_what_is_in_flight_is_named_by_stage() -> None:
    found = report(traffic())
    assert found.adds_up
    first, second = found.accounts
    assert first.in_flight.dedup > 0  # posted after dedup of partition 0 ran
    assert first.in_flight.rating > 0
    assert second.in_flight.rating == 0
    assert second.in_flight.dedup > 0
    assert sum(each.conflicts for each in found.accounts) == 2
    assert "adds up" in as_text(found)


def test_before_anything_was_taken_everything_is_in_flight() -> None:
    pipeline = Pipeline()
    pipeline.post(*(event(str(number)) for number in range(10)))
    found = report(pipeline)
    assert found.adds_up
    assert sum(each.in_flight.dedup for each in found.accounts) == 10


def test_a_stage_that_goes_on_while_it_is_looked_at_makes_no_problem() -> None:
    """The database was read first, and then everything moved on."""
    pipeline = traffic()
    before = rows_of(pipeline)
    asyncio.run(pipeline.run())
    found = report(pipeline, before)
    assert found.adds_up
    assert min(min(e.in_flight.dedup, e.in_flight.projector) for e in found.accounts) >= 0


def cut(topic: str, count: int) -> Callable[[Pipeline, RawRow], None]:
    """The end of a topic of partition 0 is gone."""

    def tamper(pipeline: Pipeline, _: RawRow) -> None:
        del pipeline.log.partitions[topic, 0][-count:]

    return tamper


def made_anew(pipeline: Pipeline, _: RawRow) -> None:
    """Other records stand in usage.raw, and more of them."""
    pipeline.log.partitions[RAW, 0] = [
        Record(0, offset, 77_000, b"other", b"{}") for offset in range(1_000)
    ]


def rated_made_anew(pipeline: Pipeline, _: RawRow) -> None:
    """usage.rated has other ranges than the projector has applied, up to the same end."""
    first, *_rest, last = pipeline.log.partitions[RATED, 0]
    pipeline.log.partitions[RATED, 0] = [first, at(first, 1), at(last, 2)]


def begins_at(topic: str, offset: int) -> Callable[[Pipeline, RawRow], None]:
    """Retention took the beginning away; below zero, all but so many of the last records."""

    def tamper(pipeline: Pipeline, _: RawRow) -> None:
        end = len(pipeline.log.partitions[topic, 0])
        pipeline.log.truncate(topic, 0, offset if offset >= 0 else end + offset)

    return tamper


def all_but_the_last(topic: str) -> Callable[[Pipeline, RawRow], None]:
    """The topic begins with its last range now, at offset 0."""

    def tamper(pipeline: Pipeline, _: RawRow) -> None:
        records = pipeline.log.partitions[topic, 0]
        pipeline.log.partitions[topic, 0] = [at(records[-1], 0)]

    return tamper


def row(**columns: int) -> Callable[[Pipeline, RawRow], None]:
    """Somebody added to columns of projection_position."""

    def tamper(_: Pipeline, rows: RawRow) -> None:
        changed = {name: getattr(rows[0], name) + by for name, by in columns.items()}
        rows[0] = replace(rows[0], **changed)

    return tamper


def beside(**counts: int) -> Callable[[Pipeline, RawRow], None]:
    """Somebody added rows to rejected_event or conflicting_event, or took some away."""

    def tamper(_: Pipeline, rows: RawRow) -> None:
        there = rows[0].rows
        assert there is not None
        changed = {name: getattr(there, name) + by for name, by in counts.items()}
        rows[0] = replace(rows[0], rows=replace(there, **changed))

    return tamper


def both(
    *tampers: Callable[[Pipeline, RawRow], None],
) -> Callable[[Pipeline, RawRow], None]:
    """One after the other."""

    def tamper(pipeline: Pipeline, rows: RawRow) -> None:
        for each in tampers:
            each(pipeline, rows)

    return tamper


def stray(_: Pipeline, rows: RawRow) -> None:
    """A position of a partition that the topics do not have."""
    rows[7] = rows[0]


def late_chain(pipeline: Pipeline, rows: RawRow) -> None:
    """The chain seems to begin with the second record, so that the sum is right again."""
    row(first_raw=1, counted=-1)(pipeline, rows)


TAMPERED: list[tuple[Kind, Callable[[Pipeline, RawRow], None]]] = [
    (Kind.LOG_ENDS_EARLY, cut(RAW, 50)),
    (Kind.LOG_MADE_ANEW, made_anew),
    (Kind.LOG_BEGINS_LATE, begins_at(RAW, -1)),
    (Kind.STAGES_OUT_OF_ORDER, cut(UNIQUE, 2)),
    (Kind.STAGES_OUT_OF_ORDER, cut(RATED, 1)),
    (Kind.CHAIN_STARTS_ELSEWHERE, late_chain),
    (Kind.CHAIN_STARTS_ELSEWHERE, all_but_the_last(UNIQUE)),
    (Kind.CHAIN_STARTS_ELSEWHERE, all_but_the_last(RATED)),
    (Kind.POSITION_WITHOUT_RECORD, rated_made_anew),
    (Kind.STAGES_OUT_OF_ORDER, begins_at(RATED, 2)),
    (Kind.POSITION_WITHOUT_RECORD, row(next_rated=-1)),
    (Kind.DOES_NOT_ADD_UP, row(counted=1)),
    (Kind.DOES_NOT_ADD_UP, row(duplicates=-1)),
    (Kind.COUNTERS_IMPOSSIBLE, both(row(conflicts=50), beside(conflict_rows=50))),
    (Kind.COUNTERS_IMPOSSIBLE, row(unmatched=500)),
    (Kind.REJECTIONS_DIFFER, beside(refused_by_dedup=1, refused_by_metrics=-1)),
    (Kind.REJECTIONS_DIFFER, beside(refused_by_dedup=-2)),
    (Kind.REJECTIONS_DIFFER, beside(refused_outside=1)),
    (Kind.CONFLICTS_DIFFER, beside(conflict_rows=-1)),
    (Kind.CONFLICTS_DIFFER, beside(conflicts_outside=1)),
]


@pytest.mark.parametrize(("kind", "tamper"), TAMPERED)
def test_each_kind_of_problem_is_found_and_explained(
    kind: Kind, tamper: Callable[[Pipeline, RawRow], None]
) -> None:
    pipeline = traffic()
    rows = rows_of(pipeline)
    assert report(pipeline, rows).adds_up
    tamper(pipeline, rows)
    found = report(pipeline, rows)
    assert kind in {problem.kind for problem in found.problems}, found.problems
    assert {problem.partition for problem in found.problems} == {0}
    text = as_text(found)
    assert "DOES NOT ADD UP" in text
    for problem in found.problems:
        assert f"partition 0: {problem.what}." in text
        assert problem.to_do in text
    assert as_document(found)["adds_up"] is False


def test_a_position_of_a_partition_that_is_not_there_is_found() -> None:
    pipeline = traffic()
    rows = rows_of(pipeline)
    stray(pipeline, rows)
    [problem] = report(pipeline, rows).problems
    assert (problem.kind, problem.partition) == (Kind.NO_SUCH_PARTITION, 7)


def test_rows_that_were_not_counted_are_not_checked() -> None:
    """As the endpoint looks: with the counters alone, and those still have to add up."""
    pipeline = traffic()
    rows = {partition: replace(held, rows=None) for partition, held in rows_of(pipeline).items()}
    assert sum(held.rejected + held.conflicts for held in rows.values()) > 0
    assert report(pipeline, rows).adds_up
    row(counted=1)(pipeline, rows)
    assert not report(pipeline, rows).adds_up


def test_every_kind_is_tried() -> None:
    assert {kind for kind, _ in TAMPERED} | {Kind.NO_SUCH_PARTITION} == set(Kind)


def test_retention_that_leaves_what_dedup_needs_makes_no_problem() -> None:
    pipeline = traffic()
    begins_at(RAW, 5)(pipeline, {})
    assert report(pipeline).adds_up


def test_the_metrics_for_prometheus_say_what_the_report_says() -> None:
    found = report(traffic())
    lines = text_of(found).splitlines()
    shown = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    for account in found.accounts:
        at = f'{{partition="{account.partition}"}}'
        assert shown[f"tollgate_accepted_total{at}"] == str(account.accepted)
        assert shown[f"tollgate_duplicates_total{at}"] == str(account.duplicates)
        assert shown[f"tollgate_difference{at}"] == "0"
        flight = f'tollgate_in_flight{{partition="{account.partition}",stage="dedup"}}'
        assert shown[flight] == str(account.in_flight.dedup)
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {name.split("{")[0] for name in shown} == named
    assert {each.name for each in BY_PARTITION} < named
