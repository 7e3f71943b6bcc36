"""Short ways to write plans, usage and grants in tests of prices."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.domain.money import USD_CENTS, CreditType
from services.domain.period import Period
from services.domain.plan import Charge, ChargeType, Plan, Tier
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.invoice import PricedInvoice, price_period
from services.domain.pricing.usage import GroupValues, PeriodUsage
from services.domain.schedule import BilledPeriod

METRIC, OTHER = UUID(int=1), UUID(int=2)
PRODUCT = UUID(int=11)
TOKENS = CreditType(UUID(int=70), "tokens", 2, is_currency=False)
NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


def utc(year: int, month: int, day: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def tiers_of(*prices: tuple[str, str]) -> tuple[Tier, ...]:
    """(starts after, price) pairs."""
    return tuple(Tier(Decimal(start), Decimal(price)) for start, price in prices)


def charge(*prices: tuple[str, str], number: int = 1, **fields: Any) -> Charge:
    """A charge of product `PRODUCT` unless told otherwise; ids by number."""
    kind = fields.get("charge_type", ChargeType.USAGE)
    made = {
        "id": UUID(int=100 + number),
        "name": f"c{number}",
        "product_id": PRODUCT,
        "product_name": "p",
        "metric_id": METRIC if kind is ChargeType.USAGE else None,
        "tiers": tiers_of(*(prices or (("0", "1"),))),
    }
    return Charge(**{**made, **fields})


def plan(*charges: Charge, **fields: Any) -> Plan:
    return Plan(
        **{"id": UUID(int=9), "name": "plan", "unit": USD_CENTS, "charges": charges, **fields}
    )


def used(quantity: str, **groups: str) -> PeriodUsage:
    """Usage of METRIC; keyword arguments are values of the group key (region)."""
    by_value: dict[GroupValues, Decimal] = {
        (name,): Decimal(value) for name, value in groups.items()
    }
    return PeriodUsage({METRIC: Decimal(quantity)}, {(METRIC, ("region",)): by_value})


def billed(number: int = 0, held: Period = NOVEMBER, trial: bool = False) -> BilledPeriod:
    """November, or a part of it."""
    return BilledPeriod(held, held if trial else NOVEMBER, number, trial)


def price(priced: Plan, usage: PeriodUsage, number: int = 0) -> PricedInvoice:
    """One whole period."""
    return price_period(priced, usage, billed(number))


def grant(amount: str, number: int = 1, **fields: Any) -> CreditGrant:
    """A grant in cents that holds for the whole of 2026 unless told otherwise."""
    made = {
        "id": UUID(int=500 + number),
        "name": f"grant {number}",
        "unit": USD_CENTS,
        "amount": Decimal(amount),
        "priority": Decimal(1),
        "effective_at": utc(2026, 1),
        "expires_at": utc(2027, 1),
    }
    return CreditGrant(**{**made, **fields})
