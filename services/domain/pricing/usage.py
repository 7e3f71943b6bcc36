"""What a period's pricing is given: metered quantities, by metric and group. Computes nothing."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from services.domain.plan import Plan

GroupKey = tuple[str, ...]
GroupValues = tuple[str | None, ...]  # in the order of the key; None where events lack the property


class PeriodUsage(NamedTuple):
    """Metered values of one billing period; what is absent is 0.

    For LATEST a value is the increment (METRONOME 4.2): the last value in the period less the last
    one before it, 0 when the period has none; by group likewise, within the group.
    """

    quantities: Mapping[UUID, Decimal]  # by billable metric
    # By metric and the group key of a charge, as the charge writes it: value by group values.
    groups: Mapping[tuple[UUID, GroupKey], Mapping[GroupValues, Decimal]] = MappingProxyType({})
    # The regular periods before this one, the oldest first: at least as many as
    # `services.domain.pricing.charge.periods_run_on` asks for.
    earlier: tuple["PeriodUsage", ...] = ()


def meters_of(plan: Plan) -> frozenset[tuple[UUID, GroupKey]]:
    """What has to be metered to price a plan: metrics, each with the group key by which it is
    wanted; the empty one for the whole."""
    return frozenset(
        (charge.metric_id, charge.group_key)
        for charge in plan.charges
        if charge.metric_id is not None
    )
