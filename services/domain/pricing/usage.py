"""What a period's pricing is given: metered quantities, by metric and group. Computes nothing."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

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
