"""`tollgate api`: the HTTP API without ingest, for deployments that run it apart."""

import asyncio

from services.runtime.process import run_stage
from services.runtime.settings import Settings
from services.serve import Part, run


async def serve_api(settings: Settings, stopping: asyncio.Event) -> None:
    """The API alone."""
    await run(Part(ingest=False, api=True), settings, stopping)


def main(argv: list[str]) -> int:
    """Entry of `tollgate api`."""
    return run_stage("api", serve_api, argv)
