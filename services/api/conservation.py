"""Whether every event is accounted for, as JSON and for Prometheus. Only reads.

Both take the bearer token: they tell how much is used, and each look reads Kafka and PostgreSQL.
Neither counts the rows of rejected and conflicting events; the command `tollgate verify` does.
"""

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from services.api.context import Parts
from services.api.errors import unavailable
from services.api.metric_names import CONTENT_TYPE, text_of
from services.api.replies import exact
from services.api.request import ExactRoute
from services.runtime.conservation import Report, as_document
from services.runtime.conservation_live import LogAway

router = APIRouter(tags=["Tollgate"], route_class=ExactRoute)


class InFlight(TypedDict):
    """Accepted, and not yet taken by each stage."""

    dedup: int
    rating: int
    projector: int


class PartitionAccount(TypedDict):
    """accepted = counted + duplicates + rejected + in_flight + difference."""

    partition: int
    accepted: int
    counted: int
    duplicates: int
    conflicts: int
    rejected: int
    unmatched: int
    in_flight: InFlight
    difference: int


class TotalAccount(TypedDict):
    """All partitions."""

    accepted: int
    counted: int
    duplicates: int
    conflicts: int
    rejected: int
    unmatched: int
    in_flight: int
    difference: int


class ProblemFound(TypedDict):
    """One thing that is wrong, and what to do."""

    kind: str
    partition: int
    what: str
    to_do: str


class Verification(TypedDict):
    """What `tollgate verify --json` prints."""

    adds_up: bool
    generation: int
    total: TotalAccount
    partitions: list[PartitionAccount]
    problems: list[ProblemFound]


@router.get("/v1/tollgate/verify", responses={200: {"model": Verification}})
async def verify(parts: Parts) -> Response:
    """Whether every accepted event is accounted for, by partition, as `tollgate verify` says it.
    Problems of the kinds `rejections_differ` and `conflicts_differ` only the command finds: it
    counts the rows of every rejected and conflicting event."""
    return exact(as_document(await _report(parts)))


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
async def prometheus(parts: Parts) -> Response:
    """The same in Prometheus' text format; a scrape sends the bearer token."""
    return Response(text_of(await _report(parts)), headers={"Content-Type": CONTENT_TYPE})


async def _report(parts: Parts) -> Report:
    if parts.reports is None:
        raise unavailable("the log")
    try:
        return await parts.reports.report()
    except LogAway as error:
        raise unavailable("Kafka") from error
