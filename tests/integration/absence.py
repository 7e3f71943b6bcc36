"""Keeps a server of a running Tollgate away for a while, in the ways in which servers are away."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.integration.client import Tollgate, wait_until


@contextmanager
def away(tollgate: Tollgate, name: str) -> Iterator[None]:
    """The server is killed, and killed again whenever it is started again, until the end."""
    over = threading.Event()

    def keep_killing() -> None:
        while not over.is_set():
            for entry in tollgate.run["processes"]:
                if entry["name"] == name:
                    with suppress(ProcessLookupError):
                        os.kill(int(entry["pid"]), signal.SIGKILL)
            over.wait(0.05)

    killer = threading.Thread(target=keep_killing, name=f"keeps {name} away")
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


@contextmanager
def hung(tollgate: Tollgate, name: str) -> Iterator[None]:
    """The server keeps its connections and answers nothing."""
    pid = tollgate.pid(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def back(tollgate: Tollgate, name: str) -> None:
    """Wait until the process is there again."""
    wait_until(
        lambda: any(entry["name"] == name for entry in tollgate.run["processes"]),
        lambda: f"{name} is not started again",
    )
