"""What a diff of two documents of one invoice names, and how it reads."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.projector.projection import Position
from services.replay.compare import Change, InvoiceDifference, change, differing_lines
from services.replay.diff_postgres import Fates
from services.replay.generations import Generation, Source, State
from services.replay.progress import Progress
from services.replay.report import diff_text, status_rows
from services.replay.session import Comparison

AT = datetime(2026, 11, 1, tzinfo=UTC)


def document(**quantities: int) -> dict[str, Any]:
    """One product a name, priced at 10."""
    return {
        "line_items": [
            {
                "name": name,
                "product_id": f"product of {name}",
                "sub_line_items": [
                    {
                        "name": f"{name} charge",
                        "charge_id": f"charge of {name}",
                        "quantity": Decimal(quantity),
                        "subtotal": Decimal(10 * quantity),
                    }
                ],
            }
            for name, quantity in quantities.items()
        ],
        "total": Decimal(10 * sum(quantities.values())),
    }


def test_only_the_lines_that_differ_are_named() -> None:
    [line] = differing_lines(document(a=1, b=2), document(a=1, b=3))
    assert (line.product, line.charge) == ("b", "b charge")
    assert line.quantity == Change(Decimal(2), Decimal(3))
    assert line.subtotal == Change(Decimal(20), Decimal(30))
    assert line.fields == ("quantity", "subtotal")


def test_a_line_that_one_side_lacks_is_named() -> None:
    [gone] = differing_lines(document(a=1, b=2), document(a=1))
    assert gone.quantity == Change(Decimal(2), None)
    [new] = differing_lines({}, document(a=1))
    assert new.subtotal == Change(None, Decimal(10))


def test_the_same_number_written_otherwise_is_no_difference() -> None:
    other = document(a=1)
    other["line_items"][0]["sub_line_items"][0]["quantity"] = Decimal("1.00")
    assert differing_lines(document(a=1), other) == ()


def test_a_diff_reads_as_sentences() -> None:
    live = Generation(0, State.LIVE, Source.LIVE, 0, AT, None, None)
    replayed = Generation(3, State.BUILDING, Source.RAW, 12, AT, None, None)
    before, after = document(a=1), document(a=2)
    difference = InvoiceDifference(
        UUID(int=1), "Acme", UUID(int=2), "FINALIZED", AT, AT, "USD (cents)",
        change("total", before, after), change("subtotal", before, after),
        differing_lines(before, after),
    )  # fmt: skip
    fates = Fates(5, 1, 0, 0, 0)
    text = diff_text(Comparison(live, replayed, fates, Fates(6, 0, 0, 0, 0), 2, [difference]))
    assert "generation 3 (from raw, catalog 12) against live generation 0" in text
    assert "counted 5 -> 6, duplicates 1 -> 0, conflicts 0" in text
    assert "Acme 2026-11-01..2026-11-01 FINALIZED (never changed by a promotion" in text
    assert "total 10 -> 20 USD (cents)" in text
    assert "a / a charge: quantity 1 -> 2, subtotal 10 -> 20" in text
    assert "1 of 2 invoices differ" in text


def test_status_says_how_far_behind_each_is() -> None:
    generations = [
        Generation(0, State.LIVE, Source.LIVE, 0, AT, None, None),
        Generation(1, State.BUILDING, Source.UNIQUE, 5, AT, None, None),
        Generation(2, State.DROPPED, Source.UNIQUE, 5, AT, None, None),
    ]
    positions = {0: {0: Position(10, 2), 1: Position(7, 1)}, 1: {0: Position(4, 1)}, 2: {}}
    rows = status_rows(generations, positions, 0)
    assert [row["behind"] for row in rows] == [0, 13, None]


def test_progress_off_a_terminal_is_a_line_at_the_end_of_what_was_shown() -> None:
    out = io.StringIO()
    progress = Progress(out)
    progress.aim({0: Position(10, 1)}, {})
    progress.close()
    assert not out.getvalue()
    progress._shown_at = -1_000.0  # the last line is long ago
    progress.moved(0, 5)
    progress.moved(0, 10)
    progress.close()
    assert out.getvalue().splitlines()[0].startswith("50 %: 5 of 10 offsets")
    assert out.getvalue().splitlines()[-1].startswith("100 %: 10 of 10 offsets")
