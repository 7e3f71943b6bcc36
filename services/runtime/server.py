"""Runs an ASGI app under uvicorn inside a stage; never routes."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import uvicorn

from services.runtime.http import App
from services.runtime.process import first_of, notify_ready
from services.runtime.settings import Settings

# Connections waiting to be accepted; the kernel queues them while the process is busy.
BACKLOG = 2_048
# Requests in progress at a stop get this long to end.
GRACE_S = 10


class _Server(uvicorn.Server):
    """A server that can be waited for."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Note when connections are accepted."""
        await super().startup(sockets)
        self.accepting.set()


async def serve(
    app: App,
    settings: Settings,
    stopping: asyncio.Event,
    ready: Callable[[], Awaitable[None]],
) -> None:
    """Serve until `stopping`, and report readiness once `ready` returns too; raises OSError when
    the address is taken."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    listening = _listen(settings)

    async def stop_when_told() -> None:
        await stopping.wait()
        server.should_exit = True
        await asyncio.Event().wait()  # the server ends the wait

    async def report() -> None:
        await server.accepting.wait()
        await ready()
        notify_ready(settings)
        await asyncio.Event().wait()

    with listening:
        await first_of(server._serve([listening]), stop_when_told(), report())


def _listen(settings: Settings) -> socket.socket:
    if settings.listen_fd is not None:
        return socket.socket(fileno=settings.listen_fd)
    listening = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise OSError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror});"
            " set TOLLGATE_PORT to a free port"
        ) from error
    listening.listen(BACKLOG)
    return listening
