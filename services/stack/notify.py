"""Hears from a stage that it is ready: systemd's notify protocol, one socket a stage.

The socket's name is in Linux's abstract space: it needs no file (a path may be too long for a
socket) and is gone with the process. Messages of other users are ignored.
"""

import os
import secrets
import socket
import struct

from services.stack.process import readable

# A message is a few short lines.
_MESSAGE_BYTES_MAX = 4096
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class NotifySocket:
    """Where one stage sends READY=1."""

    def __init__(self, stage: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        name = f"tollgate-{os.getpid()}-{stage}-{secrets.token_hex(8)}"
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{name}")
        self.address = f"@{name}"

    def forget(self) -> None:
        """Drop what an earlier process of the stage has sent."""
        while self._receive() is not None:
            pass

    async def wait_ready(self) -> None:
        """Return once READY=1 has come."""
        while True:
            message = self._receive()
            if message is None:
                await readable(self._socket.fileno())
            elif b"READY=1" in message.split(b"\n"):
                return

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()

    def _receive(self) -> bytes | None:
        """The next message; empty when another user sent it, None when there is none."""
        try:
            message, ancillary, _, _ = self._socket.recvmsg(
                _MESSAGE_BYTES_MAX, socket.CMSG_SPACE(_CREDENTIALS.size)
            )
        except BlockingIOError:
            return None
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                _, uid, _ = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
                if uid == os.geteuid():
                    return message
        return b""
