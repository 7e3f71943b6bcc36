"""The running Tollgate as the nemesis sees it: processes by name, servers by address."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis

from services.domain.schedule import add_months
from services.stack.ports import choose_ports
from tests.chaos.sockets import cut
from tests.integration.client import Billed, Tollgate

STAGES = ("gateway", "dedup", "rating", "projector")
SERVERS = ("kafka", "redis", "postgres")
# The longest a killed process takes to be another one: its delay, its start, a busy machine.
BACK_S_MAX = 90.0


class NotDone(Exception):
    """A fault could not be done just now: what it breaks was not there. To be tried again."""


class World:
    """Handles on everything that can be broken."""

    def __init__(self, tollgate: Tollgate, failpoints: Path, api_urls: list[str]) -> None:
        self.tollgate = tollgate
        self.failpoints = failpoints
        self.api_urls = api_urls
        self.seconds: dict[str, subprocess.Popen[bytes]] = {}  # second workers, by stage
        self.stopped: set[int] = set()
        self.final: list[Billed] = []  # each with an invoice that must become final, once

    @property
    def run(self) -> dict[str, Any]:
        """run.json, which says how to reach everything."""
        return self.tollgate.run

    def pid(self, name: str) -> int:
        """The process that runs under this name, once there is one."""
        return _soon(lambda: self._pids().get(name), f"{name} is not started again")

    def _pids(self) -> dict[str, int]:
        return {entry["name"]: int(entry["pid"]) for entry in self.run["processes"]}

    def kill(self, name: str) -> None:
        """kill -9."""
        _strike(self.pid(name), signal.SIGKILL)

    def stop(self, pid: int) -> None:
        """SIGSTOP, remembered so that nothing stays stopped."""
        _strike(pid, signal.SIGSTOP)
        self.stopped.add(pid)

    def go_on(self, pid: int) -> None:
        """SIGCONT."""
        _signal(pid, signal.SIGCONT)
        self.stopped.discard(pid)

    def go_on_dead(self, pid: int) -> None:
        """SIGKILL to a stopped process."""
        _signal(pid, signal.SIGKILL)
        self.stopped.discard(pid)

    def arm(self, stage: str, point: str) -> Path:
        """Arm a failpoint; the file is gone once it has fired."""
        path = self.failpoints / f"{stage}.{point}"
        path.touch()
        return path

    def let_an_invoice_be_final(self) -> None:
        """A customer whose plan ended months ago: its invoice is final as soon as it is there."""
        try:
            billed = self.tollgate.billed()
            path = f"/v1/customers/{billed.customer_id}/plans"
            [plan] = self.tollgate.patient("GET", path).body["data"]
            before = add_months(datetime.fromisoformat(plan["starting_on"]), -2)
            body = {
                "plan_id": plan["plan_id"],
                "starting_on": before.isoformat(),
                "ending_before": add_months(before, 1).isoformat(),
            }
            self.tollgate.post(f"{path}/add", body)
        except OSError as error:
            raise NotDone(f"the API is away: {error!r}") from error
        self.final.append(billed)

    def not_final_once(self) -> list[str]:
        """What is wrong with the invoices that had to become final."""
        return [
            f"customer {billed.customer_id} has {len(found)} finalized invoices"
            for billed in self.final
            if len(found := self._final_of(billed)) != 1
        ]

    def _final_of(self, billed: Billed) -> list[object]:
        path = f"/v1/customers/{billed.customer_id}/invoices?status=FINALIZED"
        found: list[object] = self.tollgate.patient("GET", path).body["data"]
        return found

    def start_second(self, stage: str, notify_socket: str, instance_id: str = "") -> None:
        """A second worker of a stage, beside the supervised one, which says on the socket that it
        is ready; `instance_id`: the supervised one's own, by which Kafka takes the two for one."""
        self.end_second(stage, signal.SIGKILL)
        run = self.run
        environ = {
            **os.environ,
            **{n.upper(): run[n] for n in ("kafka_bootstrap_servers", "redis_url", "database_url")},
            "TOLLGATE_FAILPOINT_DIR": str(self.failpoints),
            "TOLLGATE_INSTANCE_ID": instance_id,
            "NOTIFY_SOCKET": notify_socket,
        }
        if stage == "gateway":
            port = choose_ports(["second"], {})["second"]
            environ["TOLLGATE_PORT"] = str(port)
            self.api_urls[1:] = [f"http://127.0.0.1:{port}"]
        with (self.tollgate.data_dir / f"second-{stage}.log").open("ab") as lines:
            self.seconds[stage] = subprocess.Popen(
                [sys.executable, "-m", "services", stage], env=environ, stderr=lines, stdout=lines
            )

    def end_second(self, stage: str, number: signal.Signals) -> str:
        """End the second worker; returns how it had ended, or what it was sent."""
        worker = self.seconds.pop(stage, None)
        if stage == "gateway":
            del self.api_urls[1:]
        if worker is None:
            return "there was none"
        already = worker.poll()
        if already is None:
            worker.send_signal(number)
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            raise
        return number.name if already is None else f"had ended with {already}"

    def cut_connections(self, server: str) -> int:
        """Shut down every connection of a stage to a server; returns how many."""
        address = {
            "kafka": self.run["kafka_bootstrap_servers"],
            "redis": self.run["redis_url"].rpartition("@")[2],
            "postgres": self.run["database_url"].rpartition("@")[2],
        }[server]
        port = int(address.partition("/")[0].rpartition(":")[2])
        pids = [pid for name, pid in self._pids().items() if name in STAGES]
        pids += [worker.pid for worker in self.seconds.values() if worker.poll() is None]
        return sum(cut(pid, port) for pid in pids)

    async def kick_from_postgres(self) -> None:
        """As an administrator does: pg_terminate_backend for everyone else."""
        connection = await asyncpg.connect(self.run["database_url"])
        try:
            await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        finally:
            await connection.close()

    async def redis_command(self, *words: str) -> None:
        """One command to Redis."""
        redis = Redis.from_url(self.run["redis_url"], socket_timeout=10)
        try:
            await redis.execute_command(*words)  # type: ignore[no-untyped-call]  # has no types
        finally:
            await redis.aclose()

    def restore_order(self) -> None:
        """Nothing stopped, no second workers, every process there. What was armed stays armed."""
        for pid in list(self.stopped):
            self.go_on(pid)
        for stage in list(self.seconds):
            self.end_second(stage, signal.SIGTERM)
        for name in (*SERVERS, *STAGES):
            self.pid(name)


def _strike(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError as error:
        raise NotDone("the process had ended by itself") from error


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _soon(found: Callable[[], int | None], why_not: str) -> int:
    deadline = time.monotonic() + BACK_S_MAX
    while (pid := found()) is None:
        assert time.monotonic() < deadline, why_not
        time.sleep(0.02)
    return pid
