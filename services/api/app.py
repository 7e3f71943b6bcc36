"""The ASGI application of the control plane: routes, bearer tokens, errors, its own description."""

from collections.abc import Callable
from datetime import datetime

import asyncpg
from fastapi import FastAPI
from starlette.responses import Response

from services.api import errors
from services.api.auth import OPEN_PATHS, BearerAuthentication
from services.api.context import Context
from services.api.openapi import describe
from services.api.replies import exact
from services.api.routes import routers
from services.runtime.clock import utc_now
from services.runtime.conservation_live import Reports
from services.runtime.tokens import TokenCache


def create_app(
    pool: asyncpg.Pool,
    tokens: TokenCache,
    *,
    now: Callable[[], datetime] = utc_now,
    reports: Reports | None = None,
) -> FastAPI:
    """The application over a pool that the caller opens and closes."""
    # The documentation pages that FastAPI has would load scripts from elsewhere.
    app = FastAPI(
        title="Tollgate",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.context = Context(pool, now, reports)
    errors.install(app)
    app.add_middleware(BearerAuthentication, tokens=tokens)
    for router in routers():
        app.include_router(router)

    async def openapi() -> Response:
        return exact(describe())

    for path in sorted(OPEN_PATHS):
        app.add_api_route(path, openapi, include_in_schema=False)
    return app
