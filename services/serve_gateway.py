"""`tollgate gateway`: only POST /v1/ingest, for deployments that scale it by itself."""

import asyncio

from services.runtime.process import run_stage
from services.runtime.settings import Settings
from services.serve import Part, run


async def serve_ingest(settings: Settings, stopping: asyncio.Event) -> None:
    """The gateway alone."""
    await run(Part(ingest=True, api=False), settings, stopping)


def main(argv: list[str]) -> int:
    """Entry of `tollgate gateway`."""
    return run_stage("gateway", serve_ingest, argv)
