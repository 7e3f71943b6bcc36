"""Which invoices a mark of a month is about, and from which tables a period is put together."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.domain.money import USD_CENTS
from services.domain.period import Period, month_start
from services.domain.plan import Plan
from services.domain.pricing.terms import PlanTerms
from services.domain.schedule import BillingCycle, BillingFrequency, Schedule
from services.projector.drafts import marked_periods
from services.projector.pieces import pieces_of
from services.runtime.customer_terms import CustomerTerms

BEGINS = datetime(2026, 9, 14, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


def terms(
    frequency: BillingFrequency,
    cycle: BillingCycle = BillingCycle.CALENDAR,
    *,
    carries_on: bool = False,
) -> CustomerTerms:
    plan = Plan(UUID(int=1), "p", USD_CENTS, (), frequency, cycle)
    schedule = Schedule(frequency, cycle, BEGINS)
    return CustomerTerms(
        UUID(int=2), UUID(int=3), plan, PlanTerms(plan), schedule, None, carries_on
    )


def starts(held: CustomerTerms, month: datetime) -> list[str]:
    return [f"{each.held.start:%m-%d}" for each in marked_periods(held, month, NOW)]


def test_a_month_is_about_what_it_touches_and_what_has_begun() -> None:
    assert starts(terms(BillingFrequency.WEEKLY), NOVEMBER) == ["10-26", "11-02", "11-09"]
    assert starts(terms(BillingFrequency.MONTHLY), NOVEMBER) == ["11-01"]
    anniversary = terms(BillingFrequency.MONTHLY, BillingCycle.ANNIVERSARY)
    assert starts(anniversary, NOVEMBER) == ["10-14"]
    assert starts(anniversary, datetime(2026, 10, 1, tzinfo=UTC)) == ["09-14", "10-14"]
    assert starts(terms(BillingFrequency.ANNUAL), NOVEMBER) == ["09-14"]
    december = datetime(2026, 12, 1, tzinfo=UTC)
    assert starts(terms(BillingFrequency.MONTHLY), december) == []
    assert starts(terms(BillingFrequency.MONTHLY), datetime(2026, 8, 1, tzinfo=UTC)) == []


def test_where_one_period_carries_on_from_another_the_later_ones_are_meant_too() -> None:
    held = terms(BillingFrequency.MONTHLY, carries_on=True)
    assert starts(held, datetime(2026, 9, 1, tzinfo=UTC)) == ["09-14", "10-01", "11-01"]
    assert starts(held, NOVEMBER) == ["11-01"]
    assert starts(terms(BillingFrequency.MONTHLY), datetime(2026, 9, 1, tzinfo=UTC)) == ["09-14"]


hours = st.integers(0, 24 * 900).map(
    lambda n: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n)
)


@given(hours, st.integers(1, 24 * 800))
def test_the_pieces_of_a_period_are_all_of_it_once(start: datetime, length: int) -> None:
    period = Period(start, start + timedelta(hours=length))
    pieces = sorted(
        (piece.period.start, piece.period.end, piece.table) for piece in pieces_of(period)
    )
    ends = [start, *(end for _, end, _ in pieces)]
    assert [begin for begin, _, _ in pieces] == ends[:-1]
    assert ends[-1] == period.end
    for begin, end, table in pieces:
        if table == "usage_month":
            assert month_start(begin) == begin < end == month_start(end)
        else:
            # Hours of less than a month at either edge, or of less than two about one boundary.
            assert end - begin < timedelta(days=62)
