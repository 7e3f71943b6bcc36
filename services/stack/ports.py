"""Which ports to listen on: free ones at first, the same ones on every later start.

Outside the range that the kernel takes for outgoing connections: a client that reconnects while a
server is down could otherwise be given the server's own port, and keep it from coming back.
"""

import contextlib
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from services.stack.errors import PortError

HOST = "127.0.0.1"
API_PORT_DEFAULT = 8080
# Connections that wait while the gateway is started again; the kernel may cap it (somaxconn).
API_BACKLOG = 2048
# Above what well-known services use.
_PORT_MIN = 20_000
_PORT_MAX = 32_767
_RANGE_PATH = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Nearly all of 12,000 ports are free; this many in use one after the other is no accident.
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    try:
        with _bound(port):
            return True
    except OSError:
        return False


def choose_ports(names: Iterable[str], remembered: dict[str, int]) -> dict[str, int]:
    """A free port for each name, the remembered one where that is free."""
    chosen: dict[str, int] = {}
    for name in names:
        port = remembered.get(name)
        if port is None or port in chosen.values() or not is_free(port):
            port = _any_free(set(chosen.values()) | set(remembered.values()))
        chosen[name] = port
    return chosen


def listen_for_api(asked: int | None, remembered: int | None) -> socket.socket:
    """A listening socket for the API.

    On the port asked for; without one (None) on the remembered one, else 8080, else any; for 0 on
    the remembered one, else any. Raises PortError when the port asked for is taken.
    """
    if asked:
        try:
            return _listening(asked)
        except OSError as error:
            raise PortError(
                f"--port {asked}: {error.strerror} on {HOST}. Stop what listens there, or leave"
                " --port out to have a free one chosen."
            ) from error
    for port in (remembered, API_PORT_DEFAULT if asked is None else None):
        if port is not None:
            with contextlib.suppress(OSError):
                return _listening(port)
    return _listening(_any_free(set()))


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # As the servers do: a port whose last connections are being closed is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def _listening(port: int) -> socket.socket:
    bound = _bound(port)
    try:
        bound.listen(API_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _any_free(taken: set[int]) -> int:
    port_max = min(_PORT_MAX, _outgoing_port_min() - 1)
    for _ in range(_TRIES):
        # Where outgoing connections may use everything, the kernel's choice is as good as any.
        port = 0 if port_max <= _PORT_MIN else _PORT_MIN + secrets.randbelow(port_max - _PORT_MIN)
        with contextlib.suppress(OSError), _bound(port) as bound:
            found = int(bound.getsockname()[1])
            if found not in taken:
                return found
    raise PortError(f"No free port was found on {HOST} between {_PORT_MIN} and {port_max}.")


def _outgoing_port_min() -> int:
    try:
        return int(_RANGE_PATH.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _PORT_MAX + 1
