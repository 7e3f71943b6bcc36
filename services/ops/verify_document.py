"""The invoice document as it should be, made of the oracle's bill, and what differs from it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from services.domain.money import CreditType
from services.domain.plan import Charge, ChargeType, Plan
from services.domain.reference.bill import Bill, ChargeAmount, Days, Line, Span, periods_of
from services.domain.reference.numbers import plain_text
from services.domain.reference.ramps import steps_of

_YEAR = timedelta(days=366)
_OTHERWISE = {
    ChargeType.FIXED: "FixedProductListItem",
    ChargeType.MINIMUM: "FixedProductListItem",
    ChargeType.COMPOSITE: "CompositeProductListItem",
}


def document_of(span: Span, bill: Bill, periods: tuple[Days, ...], place: int) -> dict[str, object]:
    """The document of one of the periods of a span, amounts as fractions."""
    days = periods[place]
    holding = [
        charge
        for charge in steps_of(span.plan.charges, days.number)
        if charge.charge_type is ChargeType.USAGE or not days.trial
    ]
    lines: list[object] = [_line(span, holding, line, days) for line in bill.lines]
    subtotal, conversion = bill.subtotal, bill.conversion
    if conversion is not None:
        subtotal = conversion.quantity * conversion.factor
        lines.append(
            {
                "name": f"{span.plan.unit.name} to {conversion.unit.name}",
                "type": "cpu_conversion",
                "quantity": conversion.quantity,
                "unit_price": conversion.factor,
                "total": subtotal,
                "credit_type": _unit(conversion.unit),
                **_ends(days.start, days.end),
                "custom_fields": {},
            }
        )
    adjustments = [
        {"name": name, "total": amount, "credit_type": _unit(_unit_of(number, bill, span.plan))}
        | ({"credit_grant_id": str(bill.grants[number])} if number in bill.grants else {})
        for number, (name, amount) in enumerate(bill.adjustments)
    ]
    return {
        "line_items": lines,
        "subtotal": subtotal,
        "total": bill.total,
        "invoice_adjustments": adjustments,
    }


def _unit_of(number: int, bill: Bill, plan: Plan) -> CreditType:
    """In what an adjustment is: those after the conversion are in its currency."""
    if bill.conversion is None or number < bill.conversion.adjustments:
        return plan.unit
    return bill.conversion.unit


def invoiced_in(plan: Plan, bill: Bill) -> CreditType:
    """What the invoice is due in."""
    return plan.unit if bill.conversion is None else bill.conversion.unit


def _line(span: Span, holding: list[Charge], line: Line, days: Days) -> dict[str, object]:
    by_id = {charge.id: charge for charge in holding}
    parts = [(by_id[amount.charge_id], amount) for amount in line.charges]
    kinds = {
        _OTHERWISE.get(charge.charge_type, "UsageProductListItem")
        for charge in holding
        if charge.product_id == line.product_id
    }
    item: dict[str, object] = {
        "name": parts[0][0].product_name,
        "type": "usage",
        "quantity": Fraction(1),
        "total": line.total,
        "credit_type": _unit(span.plan.unit),
        "product_id": str(line.product_id),
        "product_type": kinds.pop() if len(kinds) == 1 else "UsageProductListItem",
        **_ends(days.start, days.end),
        "custom_fields": {},
        "sub_line_items": [_sub_line(span, charge, amount, days) for charge, amount in parts],
    }
    if len(parts) == 1:
        charge, amount = parts[0]
        item["quantity"] = amount.quantity
        if len(charge.tiers) == 1:
            item["unit_price"] = amount.tiers[0].price
    key, values = line.group
    if line.others:
        item["name"] = f"{parts[0][0].product_name} ({line.others:,} more groups)"
        key = ()
    if key:
        item["presentation_group_values"] = dict(zip(key, values, strict=True))
    if len(key) == 1:
        item["group_key"], item["group_value"] = key[0], values[0]
    part_of_period = (days.end - days.start).days != days.days_whole
    if part_of_period and any(charge.charge_type is ChargeType.FIXED for charge, _ in parts):
        item["is_prorated"] = True
    return item


def _sub_line(span: Span, charge: Charge, amount: ChargeAmount, days: Days) -> dict[str, object]:
    item: dict[str, object] = {
        "name": charge.name,
        "quantity": amount.quantity,
        "subtotal": amount.subtotal,
        "charge_id": str(amount.charge_id),
        "custom_fields": {},
        "tier_period": _window(span, charge.tier_reset_frequency, days),
        "tiers": [
            {
                "starting_at": tier.starts_after,
                "quantity": tier.quantity,
                "price": tier.price,
                "subtotal": tier.subtotal,
            }
            for tier in amount.tiers
        ],
    }
    if len(charge.tiers) == 1 and amount.quantity != 0:
        item["price"] = amount.tiers[0].price
    return item


def _window(span: Span, reset: int, days: Days) -> dict[str, object]:
    """Over which time the tiers run: so many periods, counted from the first."""
    if reset == 1 or days.trial:
        return _ends(days.start, days.end)
    together = [
        each
        for each in periods_of(span, days.start + reset * _YEAR)
        if not each.trial and each.number // reset == days.number // reset
    ]
    return _ends(together[0].start, together[-1].end)


def _ends(start: datetime, end: datetime) -> dict[str, object]:
    return {
        "starting_at": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "ending_before": f"{end:%Y-%m-%dT%H:%M:%SZ}",
    }


def _unit(unit: CreditType) -> dict[str, object]:
    return {"id": str(unit.id), "name": unit.name}


def differing(expected: object, found: object, path: str) -> Iterator[tuple[str, object, object]]:
    """(path, expected, found) of every leaf in which two documents differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted(expected.keys() | found.keys()):
            deeper = f"{path}.{name}" if path else name
            yield from differing(expected.get(name), found.get(name), deeper)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (wanted, there) in enumerate(zip(expected, found, strict=True)):
            yield from differing(wanted, there, f"{path}[{index}]")
    elif isinstance(expected, Fraction) and isinstance(found, int | Decimal):
        if expected != Fraction(found):
            yield path, plain_text(expected), plain_text(Fraction(found))
    elif expected != found:
        wanted = plain_text(expected) if isinstance(expected, Fraction) else expected
        yield path, wanted, found
