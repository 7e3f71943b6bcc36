"""A plan as it was asked for, made into the domain's: names become ids, and what it names is looked
up. Every fault at once; nothing is stored here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID, uuid4

import asyncpg

from services.api.errors import fault, refused
from services.api.plan_bodies import ChargeBody, CreatePlan
from services.api.replies import Fault
from services.domain.meter import BillableMetric
from services.domain.money import CreditType
from services.domain.plan import (
    Charge,
    Minimum,
    OverageRate,
    Plan,
    PlanCreditGrant,
    Tier,
    UnitConversion,
)
from services.domain.plan_faults import Fault as PlanFault
from services.domain.plan_faults import plan_faults
from services.runtime.metric_rows import COLUMNS, metric
from services.runtime.plan_rows import Units, read_units

_METRICS = f"SELECT {COLUMNS}, archived_at FROM billable_metric WHERE id = ANY($1)"  # noqa: S608 (a constant)
_BASE_CHARGE = re.compile(r"charges\[(\d+)\]\.base_charge_ids\[(\d+)\]")


async def sound_plan(connection: asyncpg.Connection, plan_id: UUID, body: CreatePlan) -> Plan:
    """The plan; raises ApiError that names everything that is wrong with it."""
    units = await read_units(connection)
    faults = [*_unknown_units(body, units), *_unknown_names(body.charges)]
    if faults:
        # The metrics too are named in the same reply.
        raise refused(*faults, *_unknown_metrics(body.charges, *await _metrics(connection, body)))
    plan = _plan(plan_id, body, units)
    metrics, archived = await _metrics(connection, body)
    found = _in_words_of_the_request(plan_faults(plan, metrics), plan, body.charges)
    if found:
        told = _archived(found, body.charges, archived)
        # The steps of a ramp have one name, and perhaps the same fault.
        raise refused(*{(each["field"], each["reason"]): each for each in told}.values())
    return plan


async def _metrics(
    connection: asyncpg.Connection, body: CreatePlan
) -> tuple[dict[UUID, BillableMetric], set[UUID]]:
    """Those that are not archived, and the ids of those that are."""
    wanted = {charge.billable_metric_id for charge in body.charges} - {None}
    rows = await connection.fetch(_METRICS, list(wanted))
    archived = {row["id"] for row in rows if row["archived_at"] is not None}
    return {row["id"]: metric(row) for row in rows if row["id"] not in archived}, archived


def _unknown_metrics(
    charges: Sequence[ChargeBody], metrics: Mapping[UUID, BillableMetric], archived: set[UUID]
) -> list[Fault]:
    unknown = (
        fault(
            f"charges[{index}].billable_metric_id",
            f"there is no billable metric {charge.billable_metric_id}",
        )
        for index, charge in enumerate(charges)
        if charge.billable_metric_id is not None and charge.billable_metric_id not in metrics
    )
    return _archived(unknown, charges, archived)


def _archived(
    found: Iterable[Fault], charges: Sequence[ChargeBody], archived: set[UUID]
) -> list[Fault]:
    """The same, in other words where a metric is there and archived."""
    told = {
        f"charges[{index}].billable_metric_id": charge.billable_metric_id
        for index, charge in enumerate(charges)
        if charge.billable_metric_id in archived
    }
    return [
        fault(each["field"], f"billable metric {told[each['field']]} is archived")
        if each["field"] in told
        else each
        for each in found
    ]


def _in_words_of_the_request(
    found: Iterable[PlanFault], plan: Plan, charges: Sequence[ChargeBody]
) -> list[Fault]:
    """A request names products and charges, the domain has their ids: one product of each name, but
    every charge of it."""
    names = {charge.id: charge.name for charge in plan.charges}
    faults = []
    for each in found:
        field = each.field.replace("base_product_ids", "base_product_names")
        place = _BASE_CHARGE.fullmatch(field)
        if place is not None:
            looking = int(place[1])
            name = names[plan.charges[looking].base_charge_ids[int(place[2])]]
            given = (charges[looking].base_charge_names or []).index(name)
            field = f"charges[{looking}].base_charge_names[{given}]"
        faults.append(fault(field.replace("base_charge_ids", "base_charge_names"), each.reason))
    return faults


def _unknown_units(body: CreatePlan, units: Units) -> Iterator[Fault]:
    named: list[tuple[str, UUID | None]] = [("credit_type_id", body.credit_type_id)]
    for index, minimum in enumerate(body.minimums or ()):
        named.append((f"minimums[{index}].credit_type_id", minimum.credit_type_id))
    for index, rate in enumerate(body.overage_rates or ()):
        where = f"overage_rates[{index}]"
        named.append((f"{where}.credit_type_id", rate.credit_type_id))
        named.append((f"{where}.fiat_credit_type_id", rate.fiat_credit_type_id))
    for index, grant in enumerate(body.credit_grants or ()):
        where = f"credit_grants[{index}]"
        granted, paid = grant.amount_granted_credit_type_id, grant.amount_paid_credit_type_id
        named.append((f"{where}.amount_granted_credit_type_id", granted))
        named.append((f"{where}.amount_paid_credit_type_id", paid))
    for field, unit_id in named:
        if unit_id is not None and unit_id not in units:
            yield fault(field, f"{unit_id} is not in /v1/credit-types/list")


def _unknown_names(charges: Sequence[ChargeBody]) -> Iterator[Fault]:
    products = {charge.product_name for charge in charges}
    names = {charge.name for charge in charges}
    for index, charge in enumerate(charges):
        for field, known, wanted in (
            ("base_product_names", products, charge.base_product_names or ()),
            ("base_charge_names", names, charge.base_charge_names or ()),
        ):
            for place, name in enumerate(wanted):
                if name not in known:
                    what = "product" if known is products else "charge"
                    where = f"charges[{index}].{field}[{place}]"
                    yield fault(where, f"the plan has no {what} {name!r}")


def _plan(plan_id: UUID, body: CreatePlan, units: Units) -> Plan:
    unit = units[body.credit_type_id]

    def unit_of(unit_id: UUID | None) -> CreditType:
        return unit if unit_id is None else units[unit_id]

    return Plan(
        id=plan_id,
        name=body.name,
        unit=unit,
        charges=tuple(_charges(body.charges)),
        billing_frequency=body.billing_frequency,
        billing_cycle=body.billing_cycle,
        minimums=tuple(
            Minimum(each.name, each.value, unit_of(each.credit_type_id), each.start_period)
            for each in body.minimums or ()
        ),
        overage_rates=tuple(
            OverageRate(
                unit_of(each.credit_type_id),
                units[each.fiat_credit_type_id],
                each.to_fiat_conversion_factor,
                each.start_period,
            )
            for each in body.overage_rates or ()
        ),
        credit_grants=tuple(
            PlanCreditGrant(
                each.name,
                each.amount_granted,
                units[each.amount_granted_credit_type_id],
                each.amount_paid,
                units[each.amount_paid_credit_type_id],
                each.effective_duration,
                each.priority,
                each.send_invoice,
                each.reason,
                each.recurrence_interval,
                each.recurrence_duration,
            )
            for each in body.credit_grants or ()
        ),
    )


def _charges(bodies: Sequence[ChargeBody]) -> Iterator[Charge]:
    products: dict[str, UUID] = {}
    for body in bodies:
        products.setdefault(body.product_name, uuid4())
    ids = [uuid4() for _ in bodies]
    # Every step of a ramp of a name; which of them holds, a period says.
    named: dict[str, list[UUID]] = {}
    for charge_id, body in zip(ids, bodies, strict=True):
        named.setdefault(body.name, []).append(charge_id)
    for charge_id, body in zip(ids, bodies, strict=True):
        conversion = body.unit_conversion
        yield Charge(
            id=charge_id,
            name=body.name,
            product_id=products[body.product_name],
            product_name=body.product_name,
            metric_id=body.billable_metric_id,
            tiers=tuple(Tier(price.tier, price.value) for price in body.prices),
            unit_conversion=None
            if conversion is None
            else UnitConversion(conversion.division_factor, conversion.rounding_behavior),
            charge_type=body.charge_type,
            tiering=body.tiering,
            package_size=body.package_size,
            quantity=body.quantity,
            tier_reset_frequency=body.tier_reset_frequency,
            start_period=body.start_period,
            group_key=tuple(body.group_key or ()),
            base_product_ids=tuple(products[name] for name in body.base_product_names or ()),
            base_charge_ids=tuple(
                other_id
                for name in dict.fromkeys(body.base_charge_names or ())
                for other_id in named[name]
            ),
        )
