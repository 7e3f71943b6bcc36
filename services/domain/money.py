"""Money: the pricing unit and the one rounding. Every other amount stays exact with all digits, but
for shares of days that do not come out even (`pricing.proration`), which keep 20 and more places.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from uuid import UUID, uuid5

from services.domain.number import plain

# Room for the largest exact subtotal; only quantize uses it.
_ROUNDING = Context(prec=600, rounding=ROUND_HALF_UP)

USD_CENTS_ID = UUID("2714e483-4ff1-48e4-9e25-ac732e8f24f2")


@dataclass(frozen=True, slots=True)
class CreditType:
    """A pricing unit: a currency, or a unit of one's own. `decimal_places`: places of the unit that
    an invoice total keeps (USD is in cents, so 0)."""

    id: UUID
    name: str
    decimal_places: int
    is_currency: bool = True


USD_CENTS = CreditType(USD_CENTS_ID, "USD (cents)", 0)

# The other currencies that Metronome prices in, in whole units and not in cents (METRONOME 1).
# Their ids are derived, so that every installation has the same.
CURRENCIES = (
    USD_CENTS,
    *(
        CreditType(uuid5(USD_CENTS_ID, code), code, 2)
        for code in (
            "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "INR", "MXN", "NGN",
            "NOK", "NZD", "PLN", "SEK", "SGD", "TRY", "ZAR",
        )
    ),
)  # fmt: skip


def round_total(amount: Decimal, unit: CreditType) -> Decimal:
    """An invoice total: rounded once, half up (away from zero at the half), to the unit's places.

    DESIGN section 8; the only rounding of money to places of its unit in Tollgate.
    """
    step = Decimal(1).scaleb(-unit.decimal_places)
    return plain(amount.quantize(step, context=_ROUNDING))
