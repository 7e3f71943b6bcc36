"""A plan's minimum in a currency holds in every period from its start on, or is refused."""

from decimal import Decimal
from uuid import UUID

import pytest

from services.domain.meter import Aggregation, BillableMetric
from services.domain.money import USD_CENTS, CreditType
from services.domain.plan import Minimum, OverageRate
from services.domain.plan_faults import plan_faults
from tests.domain.plan_parts import METRIC, TOKENS, charge, plan

EUROS = CreditType(UUID(int=71), "EUR", 2)
METRICS = {METRIC: BillableMetric(METRIC, "bytes", Aggregation.SUM, "bytes")}
Step = tuple[CreditType, int]


@pytest.mark.parametrize(
    ("rates", "minimums", "faulty"),
    [
        ([(EUROS, 1)], [(EUROS, 0)], "minimums[0].start_period"),  # no rate yet
        ([(EUROS, 1)], [(EUROS, 1)], None),
        ([(EUROS, 1)], [(EUROS, 7)], None),
        ([(EUROS, 1)], [(TOKENS, 0)], None),  # of the plan's unit: always
        ([(EUROS, 0), (USD_CENTS, 1)], [(USD_CENTS, 0)], "minimums[0].start_period"),
        ([(USD_CENTS, 1), (EUROS, 0)], [(USD_CENTS, 0)], "minimums[0].start_period"),
        ([(EUROS, 0), (USD_CENTS, 1)], [(USD_CENTS, 1)], None),
        # No floor from period 1 on, unless there is one in the new currency.
        ([(EUROS, 0), (USD_CENTS, 1)], [(EUROS, 0)], "minimums[0].credit_type_id"),
        ([(EUROS, 0), (USD_CENTS, 1)], [(EUROS, 0), (TOKENS, 1)], "minimums[0].credit_type_id"),
        ([(EUROS, 0), (USD_CENTS, 1)], [(EUROS, 0), (USD_CENTS, 2)], "minimums[0].credit_type_id"),
        ([(EUROS, 0), (USD_CENTS, 1)], [(USD_CENTS, 1), (EUROS, 0)], None),
        ([(EUROS, 0), (EUROS, 1)], [(EUROS, 0)], None),
        # The next minimum in it takes over, and is looked at by itself.
        ([(EUROS, 0), (USD_CENTS, 2)], [(EUROS, 0), (EUROS, 1)], "minimums[1].credit_type_id"),
        ([(EUROS, 0), (USD_CENTS, 1)], [(EUROS, 0), (EUROS, 1)], "minimums[1].start_period"),
        # There and back: the first one holds again.
        ([(EUROS, 0), (USD_CENTS, 1), (EUROS, 2)], [(EUROS, 0), (USD_CENTS, 1)], None),
        (
            [(EUROS, 0), (USD_CENTS, 1), (EUROS, 2)],
            [(EUROS, 2), (USD_CENTS, 1)],
            None,
        ),
        (
            [(EUROS, 0), (USD_CENTS, 1), (EUROS, 2)],
            [(USD_CENTS, 1)],
            "minimums[0].credit_type_id",
        ),
    ],
)
def test_a_minimum_in_a_currency_holds_from_its_start_on(
    rates: list[Step], minimums: list[Step], faulty: str | None
) -> None:
    made = plan(
        charge(),
        unit=TOKENS,
        overage_rates=tuple(OverageRate(TOKENS, fiat, Decimal(1), start) for fiat, start in rates),
        minimums=tuple(Minimum("m", Decimal(10), unit, start) for unit, start in minimums),
    )
    found = plan_faults(made, METRICS)
    assert [fault.field for fault in found] == ([] if faulty is None else [faulty])
    assert all("overage rate" in fault.reason for fault in found)
