"""What `tollgate verify` prints, as text and as JSON. Decides nothing."""

from dataclasses import asdict

from services.domain.conservation import Account
from services.ops.verify_deep import Deep
from services.runtime.conservation import Report

_COLUMNS = (
    "partition", "accepted", "counted", "duplicates", "rejected", "in flight", "difference",
)  # fmt: skip


def as_text(report: Report) -> str:
    """A line a partition, their sum, and every problem."""
    rows = [(str(each.partition), *_numbers(each)) for each in report.accounts]
    columns = list(zip(*(_numbers(each) for each in report.accounts), strict=True))
    rows.append(("all", *(sum(column) for column in columns)))
    lines = ["".join(f"{name:>12}" for name in _COLUMNS)]
    lines += ["".join(f"{value:>12}" for value in row) for row in rows]
    conflicts = sum(each.conflicts for each in report.accounts)
    unmatched = sum(each.unmatched for each in report.accounts)
    lines.append(f"of them {conflicts} conflicts (duplicates), {unmatched} unmatched (counted)")
    for found in report.problems:
        lines.append(f"partition {found.partition}: {found.what}.")
        lines.append(f"  What to do: {found.to_do}.")
    verdict = "adds up" if report.adds_up else "DOES NOT ADD UP"
    lines.append(
        f"generation {report.generation} {verdict}: accepted = counted + duplicates + rejected +"
        " in flight"
    )
    return "\n".join(lines) + "\n"


def _numbers(each: Account) -> tuple[int, ...]:
    fates = (each.counted, each.duplicates, each.rejected)
    return each.accepted, *fates, each.in_flight.total, each.difference


def deep_as_text(deep: Deep) -> str:
    """What was folded and compared, and the first differences."""
    lines = [f"partition {partition}: folded {why}" for partition, why in deep.sources.items()]
    lines.append(
        f"compared {deep.events} events, {deep.aggregates} aggregates, {deep.drafts} drafts and"
        f" {deep.finalized} finalized invoices with the log"
    )
    if deep.pending:
        lines.append(f"{deep.pending} drafts are being priced just now and were left out")
    for difference in deep.differences:
        lines.append(f"{difference.where}:")
        lines.append(f"  by the log    {difference.expected}")
        lines.append(f"  in PostgreSQL {difference.found}")
    left = deep.difference_count - len(deep.differences)
    if left > 0:
        lines.append(f"and {left} more")
    if deep.agrees:
        lines.append("the database agrees with the log")
    else:
        lines.append(
            f"the database DIFFERS from the log in {deep.difference_count} places. What to do:"
            " `tollgate replay start --all` counts the log again, `replay diff` shows it, `replay"
            " promote` makes it the one that counts"
        )
    return "\n".join(lines) + "\n"


def deep_document(deep: Deep) -> dict[str, object]:
    """The same as JSON; the first differences only, but the number of all."""
    return {
        "agrees": deep.agrees,
        "sources": [
            {"partition": partition, "folded": why} for partition, why in deep.sources.items()
        ],
        "events": deep.events,
        "aggregates": deep.aggregates,
        "drafts": deep.drafts,
        "finalized": deep.finalized,
        "pending": deep.pending,
        "difference_count": deep.difference_count,
        "differences": [asdict(difference) for difference in deep.differences],
    }
