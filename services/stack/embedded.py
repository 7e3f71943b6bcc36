"""The three servers in one directory, for `tollgate up`, for tests and for tools.

    async with EmbeddedServers(directory) as servers: ...
    with EmbeddedServers.running(directory) as servers: ...   # without an event loop

Starts only what it is asked for and leaves nothing running, even when this process is killed.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from services.stack.console import Announce, silent
from services.stack.data_dir import DataDir
from services.stack.kafka_lock import read_lock
from services.stack.kafka_server import KafkaServer
from services.stack.ports import choose_ports
from services.stack.postgres_server import PostgresServer
from services.stack.redis_server import RedisServer
from services.stack.server import Program
from services.stack.settings import Addresses, StackSettings, read_stack_settings
from services.stack.supervisor import Supervisor

SERVERS = ("kafka", "redis", "postgres")
_PORTS = {"kafka": ("kafka", "kafka_controller"), "redis": ("redis",), "postgres": ("postgres",)}
# The class archive can wait until the stages have started too.
_ARCHIVE_DELAY_S = 5.0


def _nothing() -> None:
    """Nobody wants to know."""


class EmbeddedServers:
    """Any of the three servers, kept alive from enter to exit."""

    def __init__(
        self,
        path: Path,
        only: Collection[str] = SERVERS,
        settings: StackSettings | None = None,
        announce: Announce = silent,
        on_change: Callable[[], None] = _nothing,
    ) -> None:
        self.data_dir = DataDir(path)
        self._only = tuple(name for name in SERVERS if name in only)
        self._settings = settings or read_stack_settings(os.environ)
        self._announce = announce
        self._on_change = on_change
        self._supervisor: Supervisor | None = None
        self._background: asyncio.Task[None] | None = None
        self._addresses = Addresses()

    @property
    def supervisor(self) -> Supervisor:
        """What keeps them alive; the stages are added to it."""
        assert self._supervisor is not None, "use it between enter and exit"
        return self._supervisor

    @property
    def addresses(self) -> Addresses:
        """Where the started servers are."""
        return self._addresses

    @property
    def kafka_bootstrap_servers(self) -> str:
        """Kafka's address."""
        return _started("kafka", self._addresses.kafka_bootstrap_servers)

    @property
    def redis_url(self) -> str:
        """Redis's address, with its password."""
        return _started("redis", self._addresses.redis_url)

    @property
    def database_url(self) -> str:
        """PostgreSQL's address, with its password."""
        return _started("postgres", self._addresses.database_url)

    @property
    def processes(self) -> dict[str, int]:
        """Process id of each server that runs now."""
        return dict(self.supervisor.processes)

    def kill(self) -> None:
        """Kill everything that was started, now."""
        if self._supervisor is not None:
            self._supervisor.kill()

    async def __aenter__(self) -> Self:
        self.data_dir.lock()
        try:
            self._supervisor = Supervisor(self._announce, self._on_change)
            programs = self._programs()
            await self._supervisor.start(programs)
        except BaseException:
            await self._close()
            raise
        for program in programs:
            if isinstance(program, KafkaServer):
                self._background = asyncio.create_task(self._make_archive(program))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, path: Path, only: Collection[str] = SERVERS, settings: StackSettings | None = None
    ) -> Iterator["EmbeddedServers"]:
        """The servers for code that has no event loop: theirs runs in a thread."""
        entered: list[EmbeddedServers] = []
        failures: list[BaseException] = []
        settled, leave = threading.Event(), threading.Event()

        async def serve() -> None:
            async with cls(path, only, settings) as servers:
                entered.append(servers)
                settled.set()
                await asyncio.to_thread(leave.wait)

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as failure:  # noqa: BLE001 - raised in the caller's thread below
                failures.append(failure)
            finally:
                settled.set()

        thread = threading.Thread(target=run, name="embedded-servers", daemon=True)
        thread.start()
        settled.wait()
        try:
            if entered:
                yield entered[0]
        finally:
            leave.set()
            thread.join()
        if failures:
            raise failures[0]

    def _programs(self) -> list[Program]:
        names = [port for server in self._only for port in _PORTS[server]]
        ports = choose_ports(names, self.data_dir.remembered_ports())
        self.data_dir.remember_ports(ports)
        makers: dict[str, Callable[[dict[str, int]], tuple[Program, Addresses]]] = {
            "kafka": self._kafka,
            "redis": self._redis,
            "postgres": self._postgres,
        }
        made = [makers[name](ports) for name in self._only]
        found = [addresses for _, addresses in made]
        self._addresses = Addresses(
            kafka_bootstrap_servers=_first(a.kafka_bootstrap_servers for a in found),
            redis_url=_first(a.redis_url for a in found),
            database_url=_first(a.database_url for a in found),
        )
        return [program for program, _ in made]

    def _kafka(self, ports: dict[str, int]) -> tuple[Program, Addresses]:
        server = KafkaServer(
            directory=self.data_dir.folder("kafka"),
            cache_dir=self._settings.cache_dir,
            log_path=self.data_dir.log_path("kafka"),
            port=ports["kafka"],
            controller_port=ports["kafka_controller"],
            heap=self._settings.kafka_heap,
            java_home=self._settings.java_home,
            jars=read_lock(),
            announce=self._announce,
        )
        return server, Addresses(kafka_bootstrap_servers=server.bootstrap_servers)

    def _redis(self, ports: dict[str, int]) -> tuple[Program, Addresses]:
        server = RedisServer(
            directory=self.data_dir.folder("redis"),
            log_path=self.data_dir.log_path("redis"),
            port=ports["redis"],
            password=self.data_dir.secrets().redis_password,
            executable=self._settings.redis_server,
        )
        return server, Addresses(redis_url=server.url)

    def _postgres(self, ports: dict[str, int]) -> tuple[Program, Addresses]:
        server = PostgresServer(
            data_dir=self.data_dir.path,
            directory=self.data_dir.folder("postgres"),
            log_path=self.data_dir.log_path("postgres"),
            port=ports["postgres"],
            password=self.data_dir.secrets().postgres_password,
            announce=self._announce,
        )
        return server, Addresses(database_url=server.url)

    async def _make_archive(self, kafka: KafkaServer) -> None:
        await asyncio.sleep(_ARCHIVE_DELAY_S)
        try:
            await kafka.make_archive()
        except OSError as error:  # a full disk; Kafka runs as well without
            self._announce("kafka", f"no class archive, so later starts are slower: {error}")

    async def _close(self) -> None:
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)
        if self._supervisor is not None:
            await self._supervisor.stop()
        self.data_dir.unlock()


def _started(name: str, address: str | None) -> str:
    assert address is not None, f"{name} was not asked for"
    return address


def _first(addresses: Iterator[str | None]) -> str | None:
    return next((address for address in addresses if address is not None), None)
