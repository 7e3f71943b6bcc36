"""`tollgate up`: the three servers and the four stages on this machine, until Ctrl-C.

Order: servers together; then the database's schema, the topics and the admin token; then the
stages together. Stops in the reverse order. Never listens on anything but 127.0.0.1.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from services.domain.partition import PARTITION_COUNT_DEFAULT
from services.stack.console import Stopwatch, say, to_stdout
from services.stack.embedded import SERVERS, EmbeddedServers
from services.stack.errors import StackError
from services.stack.notify import NotifySocket
from services.stack.ports import HOST, listen_for_api
from services.stack.settings import Addresses, StackSettings, read_stack_settings
from services.stack.stages import HTTP_STAGE, STAGES, Stage

DATA_DIR_DEFAULT = ".tollgate"
_PORT_MAX = 65_535
# What the addresses are called in the environment, and which server each replaces.
_GIVEN = {
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "redis": "REDIS_URL",
    "postgres": "DATABASE_URL",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, understood."""

    data_dir: Path
    port: int | None
    stages: bool
    servers: tuple[str, ...]


def main(argv: list[str]) -> int:
    """Run until told to stop; returns the exit status."""
    if sys.platform != "linux":
        sys.stderr.write("tollgate up runs on Linux only; elsewhere use docker compose up.\n")
        return 1
    os.umask(0o077)
    try:
        settings = read_stack_settings(os.environ)
        return asyncio.run(_until_stopped(_options(argv, settings), settings))
    except StackError as error:
        sys.stderr.write(f"tollgate: {error}\n")
        return 1


def _options(argv: list[str], settings: StackSettings) -> Options:
    parser = argparse.ArgumentParser(
        prog="tollgate up", description="Start Tollgate with all it needs, on this machine."
    )
    default = os.environ.get("TOLLGATE_DATA_DIR") or DATA_DIR_DEFAULT
    parser.add_argument(
        "--data-dir", type=Path, default=Path(default), help=f"where all data is kept ({default})"
    )
    parser.add_argument(
        "--port", type=_port, help="of the API; 0 for any free one (8080 when free, else any)"
    )
    parser.add_argument(
        "--no-stages", action="store_true", help="start the servers only, and leave them empty"
    )
    parser.add_argument(
        "--only", type=_server_names, default=SERVERS, help=f"some of {','.join(SERVERS)}"
    )
    parsed = parser.parse_args(argv)
    given = _by_server(settings.given)
    servers = tuple(name for name in parsed.only if given[name] is None)
    absent = [_GIVEN[name] for name in SERVERS if name not in servers and given[name] is None]
    if absent and not parsed.no_stages:
        parser.error(f"the stages need {' and '.join(absent)}: set them, or add --no-stages")
    return Options(parsed.data_dir.absolute(), parsed.port, not parsed.no_stages, servers)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _PORT_MAX:
        raise argparse.ArgumentTypeError(f"{port} is no port: give 0 to {_PORT_MAX}")
    return port


def _server_names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in SERVERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SERVERS)}")
    return names


def _by_server(addresses: Addresses) -> dict[str, str | None]:
    return {
        "kafka": addresses.kafka_bootstrap_servers,
        "redis": addresses.redis_url,
        "postgres": addresses.database_url,
    }


async def _until_stopped(options: Options, settings: StackSettings) -> int:
    up = _Up(options, settings)
    running = asyncio.create_task(up.run())
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            up.kill()
            os._exit(1)
        to_stdout("tollgate", "stopping (once more to kill everything now)")
        running.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup wants us to outlive the terminal
            loop.add_signal_handler(number, on_signal)
    try:
        await running
    except asyncio.CancelledError:
        to_stdout("tollgate", "stopped")
    return 0


class _Up:
    """One run: what was started, and what run.json says of it."""

    def __init__(self, options: Options, settings: StackSettings) -> None:
        self._options = options
        self._servers = EmbeddedServers(
            options.data_dir, options.servers, settings, to_stdout, self._publish
        )
        self._given = _by_server(settings.given)
        self._api: socket.socket | None = None
        self._ready = False

    async def run(self) -> None:
        """Start everything and keep it running; only ends by an error or by being cancelled."""
        stopwatch = Stopwatch()
        path = self._options.data_dir
        to_stdout("tollgate", f"starting in {path}")
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._servers)
            stack.callback(self._withdraw)
            if self._options.stages:
                await self._start_stages(stack)
            self._ready = True
            self._publish()
            where = self._api_url or "the servers only, without the stages"
            say(
                f"tollgate is ready: {where}  (data in {path}, token in"
                f" {self._servers.data_dir.run_path}; started in {stopwatch})"
            )
            await self._servers.supervisor.failed()

    def kill(self) -> None:
        """Kill everything now."""
        self._servers.kill()
        self._withdraw()

    @property
    def _api_url(self) -> str | None:
        return f"http://{HOST}:{self._api.getsockname()[1]}" if self._api else None

    async def _start_stages(self, stack: contextlib.AsyncExitStack) -> None:
        data_dir = self._servers.data_dir
        remembered = data_dir.remembered_ports().get("api")
        self._api = stack.enter_context(listen_for_api(self._options.port, remembered))
        data_dir.remember_ports({"api": self._api.getsockname()[1]})
        environ = self._stage_environ()
        await _prepare_servers(environ, data_dir.secrets().admin_token)
        stages = []
        for name in STAGES:
            notify = NotifySocket(name)
            stack.callback(notify.close)
            listen_fd = self._api.fileno() if name == HTTP_STAGE else None
            stages.append(Stage(name, data_dir.log_path(name), environ, notify, listen_fd))
        await self._servers.supervisor.start(stages)

    def _stage_environ(self) -> dict[str, str]:
        addresses = self._by_server()
        environ = {_GIVEN[name]: address for name, address in addresses.items() if address}
        return {**environ, "TOLLGATE_DATA_DIR": str(self._options.data_dir)}

    def _by_server(self) -> dict[str, str | None]:
        started = _by_server(self._servers.addresses)
        return {name: started[name] or self._given[name] for name in SERVERS}

    def _publish(self) -> None:
        """Write run.json anew; from when all is ready, and whenever a process changes."""
        if not self._ready:
            return
        addresses = self._by_server()
        data_dir = self._servers.data_dir
        data_dir.write_run(
            {
                "api_url": self._api_url,
                "token": data_dir.secrets().admin_token,
                "kafka_bootstrap_servers": addresses["kafka"],
                "redis_url": addresses["redis"],
                "database_url": addresses["postgres"],
                "partitions": int(os.environ.get("TOLLGATE_PARTITIONS") or PARTITION_COUNT_DEFAULT),
                "data_dir": str(data_dir.path),
                "processes": [
                    {"name": name, "pid": pid} for name, pid in self._servers.supervisor.processes
                ],
            }
        )

    def _withdraw(self) -> None:
        self._ready = False
        self._servers.data_dir.remove_run()


async def _prepare_servers(environ: dict[str, str], token: str) -> None:
    preparation = await asyncio.to_thread(_load_preparation)
    await preparation.prepare_servers({**os.environ, **environ}, token, to_stdout)


def _load_preparation() -> ModuleType:
    # Only here: the clients take long to import, and meanwhile the servers start.
    from services.stack import preparation  # noqa: PLC0415 (only when it is needed)

    return preparation


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
