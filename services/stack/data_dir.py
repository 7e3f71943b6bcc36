"""The data directory: its lock, its secrets, its remembered ports, its logs and run.json.

Everything in it is its owner's alone (0700, files 0600). One supervisor at a time.
"""

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.stack.errors import AlreadyRunningError, StackSettingsError
from services.stack.files import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    private_directory,
    read_json,
    write_json,
)
from services.stack.process import rotate

# They end words or values in a server's configuration file or command line.
_FORBIDDEN = {",": "a comma", "\n": "a line break", "\r": "a line break"}


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made once for a data directory and kept, so that they outlive a restart."""

    admin_token: str
    postgres_password: str
    redis_password: str


class DataDir:
    """A data directory that this process holds, from `lock` to `unlock`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def lock(self) -> None:
        """Make the directory and take it; raises AlreadyRunningError when another has it."""
        for character, name in _FORBIDDEN.items():
            if character in str(self.path):
                raise StackSettingsError(
                    f"The data directory {str(self.path)!r} has {name} in its path, which the"
                    " servers' settings cannot hold: choose another with --data-dir."
                )
        if not self.path.is_dir():
            private_directory(self.path)
        elif self.path.stat().st_uid == os.geteuid():
            self.path.chmod(PRIVATE_DIRECTORY)
        lock_path = self.path / "lock"
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", errors="replace").strip()
            os.close(descriptor)
            raise AlreadyRunningError(
                f"Another tollgate (process {holder or 'unknown'}) is running on {self.path}: stop"
                " it first, or choose another directory with --data-dir."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor
        self.remove_run()  # of one that was killed

    def unlock(self) -> None:
        """Let another have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def folder(self, name: str) -> Path:
        """A server's own folder."""
        return self.path / name

    def log_path(self, name: str) -> Path:
        """A log for this run, moved aside first when it has grown too large."""
        path = private_directory(self.path / "logs") / f"{name}.log"
        rotate(path)
        return path

    def secrets(self) -> Secrets:
        """The secrets, made on the first start."""
        path = self.path / "secrets.json"
        kept = read_json(path)
        made = {
            "admin_token": kept.get("admin_token") or f"tg_{secrets.token_urlsafe(32)}",
            # Hexadecimal: they stand in URLs and in a configuration file as they are.
            "postgres_password": kept.get("postgres_password") or secrets.token_hex(24),
            "redis_password": kept.get("redis_password") or secrets.token_hex(24),
        }
        if made != kept:
            write_json(path, made)
        return Secrets(**made)

    def remembered_ports(self) -> dict[str, int]:
        """The ports of the last start."""
        ports = read_json(self.path / "ports.json")
        return {name: port for name, port in ports.items() if isinstance(port, int)}

    def remember_ports(self, ports: dict[str, int]) -> None:
        """Keep these for the next start, beside those of what is not started now."""
        known = self.remembered_ports()
        if known | ports != known:
            write_json(self.path / "ports.json", known | ports)

    @property
    def run_path(self) -> Path:
        """Where a running stack says how to reach it."""
        return self.path / "run.json"

    def write_run(self, run: dict[str, Any]) -> None:
        """Say how to reach the running stack."""
        write_json(self.run_path, run)

    def remove_run(self) -> None:
        """Nothing runs any more; another's file is not ours to remove."""
        if self._lock is not None:
            self.run_path.unlink(missing_ok=True)
