"""Money: the pricing unit and the one rounding. Every other amount stays exact with all digits."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from uuid import UUID

from services.domain.number import plain

# Room for the largest exact subtotal; only quantize uses it.
_ROUNDING = Context(prec=600, rounding=ROUND_HALF_UP)

USD_CENTS_ID = UUID("2714e483-4ff1-48e4-9e25-ac732e8f24f2")


@dataclass(frozen=True, slots=True)
class CreditType:
    """A pricing unit. `decimal_places`: places of the unit that an invoice total keeps (USD is in
    cents, so 0)."""

    id: UUID
    name: str
    decimal_places: int


USD_CENTS = CreditType(USD_CENTS_ID, "USD (cents)", 0)


def round_total(amount: Decimal, unit: CreditType) -> Decimal:
    """An invoice total: rounded once, half up (away from zero at the half), to the unit's places.

    DESIGN section 8; the only rounding of money in Tollgate.
    """
    step = Decimal(1).scaleb(-unit.decimal_places)
    return plain(amount.quantize(step, context=_ROUNDING))
