"""Credit grants as tests ask for them."""

from typing import Any

NOBODY = "00000000-0000-4000-8000-000000000000"
USD = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
JUNE = "2027-06-01T00:00:00Z"


def asked(customer: str, **fields: object) -> dict[str, Any]:
    """A grant of 100 cents from the hour that has begun until June 2027."""
    return {
        "customer_id": customer,
        "name": "g",
        "grant_amount": {"amount": 100, "credit_type_id": USD},
        "paid_amount": {"amount": 0, "credit_type_id": USD},
        "priority": 1,
        "expires_at": JUNE,
        **fields,
    }


def amount(value: object, unit: str = USD) -> dict[str, object]:
    return {"amount": value, "credit_type_id": unit}
