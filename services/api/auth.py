"""Bearer tokens: nothing but the description of the API is answered without one."""

from starlette.types import ASGIApp, Receive, Scope, Send

from services.api.context import ACTOR
from services.api.errors import ApiError, response_to, unavailable
from services.runtime.http import UNAUTHORIZED, bearer_token
from services.runtime.postgres import DATABASE_AWAY
from services.runtime.tokens import TokenCache

OPEN_PATHS = frozenset({"/openapi.json", "/v1/docs/openapi"})


class BearerAuthentication:
    """Asks before the body is read or the path is looked up, so a stranger learns nothing."""

    def __init__(self, app: ASGIApp, tokens: TokenCache) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with the token's name in its scope, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            scope[ACTOR] = await self._actor(scope)
        except DATABASE_AWAY:
            await response_to(unavailable())(scope, receive, send)
        except ApiError as error:
            await response_to(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _actor(self, scope: Scope) -> str:
        token = bearer_token(scope)
        name = None if token is None else await self._tokens.name_of(token)
        if name is None:
            raise ApiError(401, UNAUTHORIZED.message, headers=UNAUTHORIZED.headers)
        return name
