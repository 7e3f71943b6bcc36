"""What keeps a plan's minimum in a currency from holding, where the plan is priced in a unit of its
own: (field, reason) pairs for `services.domain.plan_faults`. Pure.

Such a minimum holds where the overage rate in force is into its currency (`pricing.invoice`, step
10). It has to from its start on, up to the next minimum in that currency; where a rate into another
one comes in between, that currency has a minimum. Otherwise there would be periods without any, in
silence.
"""

from collections.abc import Iterable, Iterator

from services.domain.plan import Minimum, OverageRate, Plan


def converted_minimum_faults(plan: Plan, minimum: Minimum) -> Iterator[tuple[str, str]]:
    """What is wrong with a minimum that is not in the plan's pricing unit."""
    unit, start = minimum.unit, minimum.start_period
    rates = sorted(plan.overage_rates, key=lambda rate: rate.start_period)
    own = [str(rate.start_period) for rate in rates if rate.fiat.id == unit.id]
    if not own:
        reason = "must be the plan's pricing unit, or a currency of its overage_rates"
        yield "credit_type_id", reason
        return
    begun = [rate for rate in rates if rate.start_period <= start]
    if begun and begun[-1].fiat.id == unit.id:
        yield from _outlived(plan, minimum, rates[len(begun) :])
        return
    rate = (
        f"the overage rate is into {begun[-1].fiat.name}" if begun else "there is no overage rate"
    )
    reason = (
        f"in period {start} {rate}, so a minimum in {unit.name} does not hold then: let it begin"
        f" while there is a rate into {unit.name}; one begins in period {' and '.join(own)}"
    )
    yield "start_period", reason


def _outlived(
    plan: Plan, minimum: Minimum, later: Iterable[OverageRate]
) -> Iterator[tuple[str, str]]:
    """`later`: the overage rates that begin after the minimum, in order."""
    for rate in later:
        currency, start = rate.fiat.name, rate.start_period
        begun = [each for each in plan.minimums if each.start_period <= start]
        if any(_follows(each, minimum) for each in begun):
            return  # it takes over, and is looked at by itself
        if all(each.unit.id != rate.fiat.id for each in begun):
            reason = (
                f"from period {start} on the overage rate is into {currency}, so a minimum in"
                f" {minimum.unit.name} no longer holds: add one in {currency} with start_period"
                f" {start} (of value 0 if there is to be none)"
            )
            yield "credit_type_id", reason
            return


def _follows(each: Minimum, minimum: Minimum) -> bool:
    return each.unit.id == minimum.unit.id and each.start_period > minimum.start_period
