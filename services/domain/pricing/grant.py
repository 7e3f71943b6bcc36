"""Credit grants: what a customer may use up, and the order in which it is. Pure values.

METRONOME 3.9: a grant covers usage dated in [effective_at, expires_at), of its products or of all.
The lower priority goes first, then the one that expires sooner, then the lower id. Credits cover
only what is priced in their own pricing unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid5

from services.domain.money import CreditType
from services.domain.period import Period
from services.domain.plan import Plan, PlanCreditGrant
from services.domain.schedule import Schedule


@dataclass(frozen=True, slots=True)
class CreditGrant:
    """One grant to one customer."""

    id: UUID
    name: str
    unit: CreditType
    amount: Decimal
    priority: Decimal
    effective_at: datetime  # inclusive
    expires_at: datetime  # exclusive
    product_ids: tuple[UUID, ...] = ()  # in the order in which it is applied; empty: every product

    def covers(self, period: Period) -> bool:
        """Whether it holds in the whole of a period."""
        return self.effective_at <= period.start and period.end <= self.expires_at


def application_order(grant: CreditGrant) -> tuple[Decimal, datetime, UUID]:
    """Sorts grants into the order in which they are used up."""
    return grant.priority, grant.expires_at, grant.id


def granted_by_plan(
    plan: Plan, schedule: Schedule, customer_plan_id: UUID, until: datetime
) -> Iterator[tuple[PlanCreditGrant, CreditGrant]]:
    """Grants that a plan makes to its customer in the periods that begin before `until`, each with
    what the plan says of it.

    With the first regular period, and again every `recurrence_interval` periods within the first
    `recurrence_duration`; each holds for `effective_duration` whole periods. Ids are derived from
    the place, so that the same grant is never made twice.
    """
    for index, granted in enumerate(plan.credit_grants):
        for period in schedule.periods(schedule.terms_begin, until):
            interval, duration = granted.recurrence_interval, granted.recurrence_duration
            if period.trial or (duration is not None and period.number >= duration):
                continue
            if period.number % interval if interval else period.number:
                continue
            yield (
                granted,
                CreditGrant(
                    id=uuid5(customer_plan_id, f"credit grant {index} of period {period.number}"),
                    name=granted.name,
                    unit=granted.granted_unit,
                    amount=granted.amount_granted,
                    priority=granted.priority,
                    effective_at=period.held.start,
                    expires_at=schedule.whole(period.number + granted.effective_duration).start,
                ),
            )
