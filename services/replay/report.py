"""What the replay commands print: text for people, JSON for programs. Decides nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from decimal import Decimal

from services.domain.number import plain
from services.projector.projection import Position
from services.replay.compare import Change, InvoiceDifference, LineDifference
from services.replay.diff_postgres import Fates
from services.replay.generations import Generation, State
from services.replay.session import Comparison
from services.runtime.json import encode_json

Positions = Mapping[int, Position]


def status_rows(
    generations: Sequence[Generation], positions: Mapping[int, Positions], live: int
) -> list[dict[str, object]]:
    """A row for every generation, with how far it is behind the live one, in raw offsets."""
    goals = positions[live]
    return [
        {
            **asdict(generation),
            "behind": None
            if generation.state is State.DROPPED
            else sum(
                goal.next_raw - (own[p].next_raw if p in own else 0)
                for own in [positions[generation.id]]
                for p, goal in goals.items()
            ),
        }
        for generation in generations
    ]


def status_text(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as a table."""
    lines = [
        f"{'generation':>10} {'state':<9} {'source':<7} {'catalog':>8} {'behind':>12}"
        f" {'created':<20} {'promoted':<20}"
    ]
    lines += [
        f"{row['id']:>10} {row['state']:<9} {row['source']:<7} {row['catalog_version']:>8}"
        f" {_or_dash(row['behind']):>12} {_instant(row['created_at']):<20}"
        f" {_instant(row['promoted_at']):<20}"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def status_json(rows: Sequence[Mapping[str, object]]) -> str:
    """{"generations": [...]}, one line."""
    return encode_json({"generations": rows}).decode() + "\n"


def diff_json(comparison: Comparison) -> str:
    """The whole comparison, one line; amounts and quantities are exact numbers."""
    body = {
        "live": asdict(comparison.live),
        "replayed": asdict(comparison.replayed),
        "fates": {
            "live": asdict(comparison.live_fates),
            "replayed": asdict(comparison.replayed_fates),
        },
        "invoices": comparison.priced,
        "differences": [asdict(difference) for difference in comparison.differences],
    }
    return encode_json(body).decode() + "\n"


def diff_text(comparison: Comparison) -> str:
    """The comparison for people."""
    live, replayed = comparison.live, comparison.replayed
    lines = [
        f"generation {replayed.id} (from {replayed.source}, catalog {replayed.catalog_version})"
        f" against live generation {live.id}, at the same positions",
        f"events: {_fates(comparison.live_fates, comparison.replayed_fates)}",
    ]
    for difference in comparison.differences:
        lines += _invoice(difference)
    differing = len(comparison.differences)
    lines.append(f"{differing} of {comparison.priced} invoices differ")
    return "\n".join(lines) + "\n"


def _fates(live: Fates, replayed: Fates) -> str:
    return ", ".join(
        f"{field.name} {_arrow(getattr(live, field.name), getattr(replayed, field.name))}"
        for field in fields(Fates)
    )


def _invoice(difference: InvoiceDifference) -> Iterator[str]:
    status = difference.status or "not there yet"
    kept = " (never changed by a promotion; regenerating would)" if status == "FINALIZED" else ""
    yield (
        f"{difference.customer} {difference.starts_at:%Y-%m-%d}..{difference.ends_at:%Y-%m-%d}"
        f" {status}{kept} {difference.invoice_id or ''}".rstrip()
        + f": total {_change(difference.total)} {difference.unit}"
    )
    for line in difference.lines:
        yield f"    {_line(line)}"


def _line(line: LineDifference) -> str:
    return (
        f"{line.product} / {line.charge}: quantity {_change(line.quantity)},"
        f" subtotal {_change(line.subtotal)} (differs in {', '.join(line.fields)})"
    )


def _change(change: Change) -> str:
    return _arrow(_shown(change.live), _shown(change.replayed))


def _shown(value: Decimal | int | None) -> str:
    return "none" if value is None else f"{plain(Decimal(value)):f}"


def _arrow(live: object, replayed: object) -> str:
    return f"{live}" if live == replayed else f"{live} -> {replayed}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _instant(value: object) -> str:
    return "-" if value is None else f"{value:%Y-%m-%dT%H:%M:%SZ}"
