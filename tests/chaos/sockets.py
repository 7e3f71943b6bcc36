"""Cuts a process's TCP connections from outside, as a firewall or a switch does.

The process's descriptor is fetched with pidfd_getfd and shut down in both directions; the process
keeps running and finds out when it next reads or writes. Linux 5.6 and later, for one's own
processes.
"""

import ctypes
import os
import socket
from contextlib import suppress

import psutil

_PIDFD_GETFD = 438  # the same number on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


def cut(pid: int, port: int) -> int:
    """Shut down the connections of `pid` to 127.0.0.1:`port`; returns how many there were."""
    try:
        descriptors = [
            connection.fd
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.raddr and connection.raddr.port == port
        ]
        pidfd = os.pidfd_open(pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return 0
    try:
        return sum(_shut(pidfd, descriptor) for descriptor in descriptors)
    finally:
        os.close(pidfd)


def _shut(pidfd: int, descriptor: int) -> bool:
    own = _libc.syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
    if own < 0:
        assert ctypes.get_errno() != 1, "not permitted to take the descriptor of a child"
        return False  # closed meanwhile
    with socket.socket(fileno=own) as connection, suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
        return True
    return False
