"""Liveness and readiness as ASGI: GET /healthz and GET /readyz name each dependency."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from services.runtime.http import Receive, Scope, Send, respond
from services.runtime.json import encode_json

PATHS = ("/healthz", "/readyz")
# A dependency that takes longer to answer is not ready.
CHECK_TIMEOUT_S = 2.0
READY_POLL_S = 0.02

# Raises, or returns None when all is well.
Check = Callable[[], Awaitable[object]]


class HealthApp:
    """`checks`: dependency name -> check. 503 from /readyz while one of `decisive` fails; the
    state of the others is told beside it."""

    def __init__(self, checks: Mapping[str, Check], decisive: Collection[str]) -> None:
        self._checks = dict(checks)
        self._decisive = frozenset(decisive)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/healthz":
            await respond(send, 200, encode_json({"status": "ok"}))
            return
        states = await self._states()
        ready = all(states[name] == "ok" for name in self._decisive)
        body = {
            "status": "ready" if ready else "not ready",
            "dependencies": states,
        }
        await respond(send, 200 if ready else 503, encode_json(body))

    async def until_ready(self) -> None:
        """Returns when every dependency has answered once."""
        while any(state != "ok" for state in (await self._states()).values()):
            await asyncio.sleep(READY_POLL_S)

    async def _states(self) -> dict[str, str]:
        names = list(self._checks)
        states = await asyncio.gather(*(self._state_of(name) for name in names))
        return dict(zip(names, states, strict=True))

    async def _state_of(self, name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._checks[name]()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the answer)
            return f"{type(error).__name__}: {error}".rstrip(": ")
        return "ok"
