"""Every endpoint of the control plane, in one list. Decides nothing else."""

from fastapi import APIRouter

from services.api import (
    conservation,
    credit_grants,
    credit_ledgers,
    credit_list,
    credit_types,
    customer_plans,
    customers,
    invoice_life,
    invoices,
    metrics,
    plans,
    price_adjustments,
    usage,
    usage_groups,
)


def routers() -> list[APIRouter]:
    """Every endpoint. A fixed path comes before a pattern that it would match."""
    return [
        customers.router,
        metrics.router,
        plans.router,
        customer_plans.router,
        price_adjustments.router,
        usage.router,
        usage_groups.router,
        invoices.router,
        invoice_life.router,
        credit_types.router,
        credit_grants.router,
        credit_list.router,
        credit_ledgers.router,
        conservation.router,
    ]
