"""What makes a plan contradict itself: every fault with the path of its field in the words of
planDetails (METRONOME 3.3), so that a request can be answered with all of them. Pure.

Prices, quantities, factors and fractions are never below 0; what divides is above it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import NamedTuple, TypeVar
from uuid import UUID

from services.domain.meter import BillableMetric
from services.domain.minimum_faults import converted_minimum_faults
from services.domain.number import text_of
from services.domain.plan import (
    LOOKS_AT,
    ONE,
    Charge,
    ChargeType,
    Minimum,
    OverageRate,
    Plan,
    PlanCreditGrant,
    Tiering,
    tier_faults,
)


class Fault(NamedTuple):
    """One thing that is wrong, and where."""

    field: str
    reason: str


_Ramped = TypeVar("_Ramped", Minimum, OverageRate)

# What only a usage charge may say: its name in a request, and whether a charge says it.
_ONLY_USAGE: tuple[tuple[str, Callable[[Charge], bool]], ...] = (
    ("billable_metric_id", lambda charge: charge.metric_id is not None),
    ("unit_conversion", lambda charge: charge.unit_conversion is not None),
    ("package_size", lambda charge: charge.package_size is not None),
    ("tier_reset_frequency", lambda charge: charge.tier_reset_frequency != 1),
    ("group_key", lambda charge: charge.group_key != ()),
)


def plan_faults(plan: Plan, metrics: Mapping[UUID, BillableMetric]) -> list[Fault]:
    """Everything that is wrong with a plan; empty for a sound one. `metrics`: those that are not
    archived."""
    return list(
        chain(
            _charges(plan, metrics),
            _minimums(plan),
            _overage_rates(plan),
            chain.from_iterable(
                _under(f"credit_grants[{index}]", _credit_grant(grant))
                for index, grant in enumerate(plan.credit_grants)
            ),
        )
    )


def _charges(plan: Plan, metrics: Mapping[UUID, BillableMetric]) -> Iterator[Fault]:
    steps: set[tuple[UUID, str, int]] = set()
    if not plan.charges:
        yield Fault("charges", "a plan has at least one charge")
    for index, charge in enumerate(plan.charges):
        where = f"charges[{index}]"
        yield from _under(where, _prices(charge))
        yield from _under(where, _periods(charge))
        if charge.charge_type is ChargeType.USAGE:
            yield from _under(where, _usage(charge, metrics))
        else:
            for field, says in _ONLY_USAGE:
                if says(charge):
                    yield Fault(f"{where}.{field}", f"a {charge.charge_type} charge has none")
        yield from _under(where, _quantity(charge))
        yield from _under(where, _base(plan, index))
        step = (charge.product_id, charge.name, charge.start_period)
        ramp = any(each.start_period for each in plan.charges if _ramp(each) == step[:2])
        if ramp and step in steps:
            reason = "another charge of this name and product has the same start_period"
            yield Fault(f"{where}.start_period", reason)
        steps.add(step)


def _ramp(charge: Charge) -> tuple[UUID, str]:
    return charge.product_id, charge.name


def _prices(charge: Charge) -> Iterator[Fault]:
    if not charge.tiers:
        yield Fault("prices", "a charge has at least one price, of tier 0")
    for index, reason in tier_faults([tier.starts_after for tier in charge.tiers]):
        yield Fault(f"prices[{index}].tier", reason)
    for index, tier in enumerate(charge.tiers):
        if tier.price < 0:
            yield Fault(f"prices[{index}].value", _not_negative(tier.price))
    if charge.charge_type is ChargeType.MINIMUM:
        if len(charge.tiers) > 1:
            yield Fault("prices[1]", "a minimum has one price, which is the minimum")
        if charge.tiering is not Tiering.GRADUATED:
            yield Fault("tiering", "a minimum has none")


def _periods(charge: Charge) -> Iterator[Fault]:
    if charge.tier_reset_frequency < 1:
        yield Fault("tier_reset_frequency", f"must be 1 or more, not {charge.tier_reset_frequency}")
    if charge.start_period < 0:
        yield Fault("start_period", f"must be 0 or more, not {charge.start_period}")


def _usage(charge: Charge, metrics: Mapping[UUID, BillableMetric]) -> Iterator[Fault]:
    metric = None if charge.metric_id is None else metrics.get(charge.metric_id)
    if charge.metric_id is None:
        yield Fault("billable_metric_id", "a usage charge needs a billable metric")
    elif metric is None:
        yield Fault("billable_metric_id", f"there is no billable metric {charge.metric_id}")
    if charge.unit_conversion is not None and charge.unit_conversion.division_factor <= 0:
        factor = charge.unit_conversion.division_factor
        yield Fault("unit_conversion.division_factor", _positive(factor))
    if charge.package_size is not None and charge.package_size <= 0:
        yield Fault("package_size", _positive(charge.package_size))
    if len(set(charge.group_key)) != len(charge.group_key):
        yield Fault("group_key", "names a property twice")
    elif metric is not None and charge.group_key and not _within_a_key(charge, metric):
        shown = ", ".join(charge.group_key)
        yield Fault("group_key", f"billable metric {metric.id} has no group key with {shown}")


def _within_a_key(charge: Charge, metric: BillableMetric) -> bool:
    """A charge is grouped by properties that the metric declares together (METRONOME 4.3)."""
    return any(set(charge.group_key) <= set(key) for key in metric.group_keys)


def _quantity(charge: Charge) -> Iterator[Fault]:
    if charge.charge_type is ChargeType.FIXED:
        if charge.quantity < 0:
            yield Fault("quantity", _not_negative(charge.quantity))
    elif charge.quantity != ONE:
        yield Fault("quantity", f"a {charge.charge_type} charge has none")


def _base(plan: Plan, index: int) -> Iterator[Fault]:
    """What a composite or a minimum names is there, and is something that it looks at: what it
    would pass over in silence is a fault."""
    charge = plan.charges[index]
    if charge.charge_type not in LOOKS_AT:
        for field, ids in _bases(charge):
            if ids:
                yield Fault(field, f"a {charge.charge_type} charge looks at no others")
        return
    yield from _base_products(plan, charge)
    yield from _base_charges(plan, charge)
    if not any(ids for _, ids in _bases(charge)) and not plan.bases[index]:
        reason = f"there is no {_kinds(charge)} for this {charge.charge_type} to look at"
        yield Fault("charge_type", reason)


def _base_products(plan: Plan, looking: Charge) -> Iterator[Fault]:
    names = {charge.product_id: charge.product_name for charge in plan.charges}
    kinds = LOOKS_AT[looking.charge_type]
    looked_at = {charge.product_id for charge in plan.charges if charge.charge_type in kinds}
    for place, product_id in enumerate(looking.base_product_ids):
        where = f"base_product_ids[{place}]"
        if product_id not in names:
            yield Fault(where, f"the plan has no product {product_id}")
        elif product_id not in looked_at:
            reason = (
                f"product {names[product_id]!r} has no {_kinds(looking)}, and a"
                f" {looking.charge_type} looks at nothing else: name a product that has one, or"
                " leave it out"
            )
            yield Fault(where, reason)


def _base_charges(plan: Plan, looking: Charge) -> Iterator[Fault]:
    charges = {charge.id: charge for charge in plan.charges}
    for place, charge_id in enumerate(looking.base_charge_ids):
        where = f"base_charge_ids[{place}]"
        named = charges.get(charge_id)
        if charge_id == looking.id:
            yield Fault(where, "a charge cannot look at itself")
        elif named is None:
            yield Fault(where, f"the plan has no charge {charge_id}")
        elif named.charge_type not in LOOKS_AT[looking.charge_type]:
            reason = (
                f"{named.name!r} is a {named.charge_type} charge, and a {looking.charge_type} does"
                f" not look at one: name a {_kinds(looking)}, or leave it out"
            )
            yield Fault(where, reason)


def _kinds(looking: Charge) -> str:
    """usage, fixed or composite charge"""
    *others, last = LOOKS_AT[looking.charge_type]
    return f"{', '.join(others)} or {last} charge"


def _bases(charge: Charge) -> tuple[tuple[str, Sequence[UUID]], ...]:
    return (
        ("base_product_ids", charge.base_product_ids),
        ("base_charge_ids", charge.base_charge_ids),
    )


def _minimums(plan: Plan) -> Iterator[Fault]:
    for index, minimum in enumerate(plan.minimums):
        where = f"minimums[{index}]"
        if minimum.value < 0:
            yield Fault(f"{where}.value", _not_negative(minimum.value))
        if minimum.unit.id != plan.unit.id:
            faults = converted_minimum_faults(plan, minimum)
            yield from (Fault(f"{where}.{field}", reason) for field, reason in faults)
        yield from _under(where, _ramp_step(plan.minimums, index))


def _overage_rates(plan: Plan) -> Iterator[Fault]:
    for index, rate in enumerate(plan.overage_rates):
        where = f"overage_rates[{index}]"
        if rate.unit.id != plan.unit.id:
            yield Fault(f"{where}.credit_type_id", "must be the plan's pricing unit")
        elif rate.unit.is_currency:
            yield Fault(f"{where}.credit_type_id", "must be a custom pricing unit, not a currency")
        if not rate.fiat.is_currency:
            yield Fault(f"{where}.fiat_credit_type_id", "must be a currency")
        if rate.to_fiat_conversion_factor <= 0:
            reason = _positive(rate.to_fiat_conversion_factor)
            yield Fault(f"{where}.to_fiat_conversion_factor", reason)
        yield from _under(where, _ramp_step(plan.overage_rates, index))


def _ramp_step(steps: Sequence[_Ramped], index: int) -> Iterator[Fault]:
    step = steps[index]
    if step.start_period < 0:
        yield Fault("start_period", f"must be 0 or more, not {step.start_period}")
    for before in steps[:index]:
        if (before.unit.id, before.start_period) == (step.unit.id, step.start_period):
            yield Fault("start_period", "another one in this unit has the same start_period")
            return


def _credit_grant(grant: PlanCreditGrant) -> Iterator[Fault]:
    if grant.amount_granted <= 0:
        yield Fault("amount_granted", _positive(grant.amount_granted))
    if grant.amount_paid < 0:
        yield Fault("amount_paid", _not_negative(grant.amount_paid))
    if grant.priority <= 0:
        yield Fault("priority", _positive(grant.priority))
    if grant.effective_duration < 1:
        yield Fault("effective_duration", f"must be 1 or more, not {grant.effective_duration}")
    for field, value in (
        ("recurrence_interval", grant.recurrence_interval),
        ("recurrence_duration", grant.recurrence_duration),
    ):
        if value is not None and value < 1:
            yield Fault(field, f"must be 1 or more, not {value}")
    if grant.recurrence_duration is not None and grant.recurrence_interval is None:
        yield Fault("recurrence_duration", "needs a recurrence_interval")


def _under(where: str, faults: Iterator[Fault]) -> Iterator[Fault]:
    return (Fault(f"{where}.{fault.field}", fault.reason) for fault in faults)


def _not_negative(number: Decimal) -> str:
    return f"must be 0 or more, not {text_of(number)}"


def _positive(number: Decimal) -> str:
    return f"must be greater than 0, not {text_of(number)}"
