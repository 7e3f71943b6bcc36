"""`tollgate up --no-stages` on the real servers: what a person and a crash can do to it."""

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.stack.contents import read, write
from tests.stack.running import READY, Up, bare_environ, is_alive, refused, wait_until

# Kafka waits for its former self's session to end; the others are back at once.
BACK_WAIT_S_MAX = 30.0
GONE_WAIT_S_MAX = 10.0
SERVERS = ("kafka", "redis", "postgres")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all tests here, so that it is formatted once; its path is a long one,
    with a space in it."""
    return tmp_path_factory.mktemp("a folder " + "x" * 100) / "data"


@pytest.fixture
def up(data_dir: Path) -> Iterator[Up]:
    """A running stack."""
    with Up(data_dir, "--no-stages") as running:
        yield running


def test_a_second_start_finds_what_the_first_was_given(data_dir: Path) -> None:
    with Up(data_dir, "--no-stages") as up:
        first = up.run
        write(first, "before")
        assert up.stop() == 0
    assert not (data_dir / "run.json").exists()
    with Up(data_dir, "--no-stages") as up:
        for server in SERVERS:
            assert "before" in read(up.run, server), server
        second = up.run
    del first["processes"], second["processes"]
    assert first == second, "ports, passwords and the token stay"


def test_run_json_and_all_beside_it_are_the_owners_alone(up: Up) -> None:
    assert stat.S_IMODE((up.data_dir / "run.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((up.data_dir / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(up.data_dir.stat().st_mode) == 0o700
    assert up.run["token"].startswith("tg_")
    assert set(up.pids) == set(SERVERS)


def test_a_second_up_on_the_directory_is_refused(up: Up) -> None:
    message = refused(up.data_dir, "--no-stages")
    assert f"(process {up.process.pid}) is running on {up.data_dir}" in message
    assert up.run["processes"], "the first one's run.json is untouched"


def test_each_server_comes_back_after_a_kill_with_its_data(up: Up) -> None:
    write(up.run, "before the kill")
    before = up.pids
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def all_are_back() -> bool:
        return up.output.count("is back") == len(SERVERS)

    wait_until(all_are_back, BACK_WAIT_S_MAX)
    after = up.pids
    for server in SERVERS:
        assert after[server] != before[server], server
        assert is_alive(after[server]), server
        assert "before the kill" in read(up.run, server), server
        assert f"{server:<10} was ended by SIGKILL; starting again in 0.2 s" in up.output


def test_a_killed_supervisor_leaves_no_process_and_can_be_followed(data_dir: Path) -> None:
    with Up(data_dir, "--no-stages") as up:
        write(up.run, "before the supervisor's kill")
        pids = up.pids.values()
        postgres_family = _processes_in(data_dir / "postgres" / "cluster")
        assert len(postgres_family) > 1
        up.kill()
        everyone = {*pids, *postgres_family}
        wait_until(lambda: not any(map(is_alive, everyone)), GONE_WAIT_S_MAX)
    with Up(data_dir, "--no-stages") as up:
        for server in SERVERS:
            assert "before the supervisor's kill" in read(up.run, server), server


def test_a_postmaster_pid_left_with_a_number_now_in_use_does_not_stop_the_start(
    data_dir: Path,
) -> None:
    with Up(data_dir, "--no-stages", "--only", "postgres") as up:
        pid_file = data_dir / "postgres" / "cluster" / "postmaster.pid"
        left = pid_file.read_text("utf-8").splitlines()
        assert up.stop() == 0
    left[0] = str(os.getpid())
    pid_file.write_text("\n".join(left) + "\n", "utf-8")
    with Up(data_dir, "--no-stages", "--only", "postgres") as up:
        assert set(up.pids) == {"postgres"}


def test_a_port_that_another_has_taken_meanwhile_is_replaced(data_dir: Path) -> None:
    with Up(data_dir, "--no-stages", "--only", "redis") as up:
        taken = urlsplit(up.run["redis_url"]).port
    assert taken is not None
    with (
        socket.create_server(("127.0.0.1", taken)),
        Up(data_dir, "--no-stages", "--only", "redis") as up,
    ):
        assert urlsplit(up.run["redis_url"]).port != taken


def test_a_stop_during_the_start_leaves_nothing(data_dir: Path) -> None:
    up = Up(data_dir, "--no-stages")
    wait_until(lambda: "redis      ready" in up.output, GONE_WAIT_S_MAX)
    assert up.stop() == 0
    assert READY not in up.output
    for folder in ("kafka", "redis", "postgres/cluster"):
        assert not _processes_in(data_dir / folder), folder


def test_a_second_signal_kills_everything_now(data_dir: Path) -> None:
    with Up(data_dir, "--no-stages", "--only", "kafka,redis") as up:
        pids = up.pids.values()
        os.kill(up.pids["kafka"], signal.SIGSTOP)  # it cannot stop in order now
        up.process.terminate()
        wait_until(lambda: "stopping" in up.output, GONE_WAIT_S_MAX)
        up.process.terminate()
        assert up.process.wait(GONE_WAIT_S_MAX) == 1
        wait_until(lambda: not any(map(is_alive, pids)), GONE_WAIT_S_MAX)
    assert not (data_dir / "run.json").exists()


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    no_server = tmp_path / "redis-server"
    no_server.write_text("#!/bin/sh\necho this is no Redis\nexit 3\n", "utf-8")
    no_server.chmod(0o755)
    data_dir = tmp_path / "data"
    message = refused(
        data_dir,
        "--no-stages",
        "--only=redis,postgres",
        TOLLGATE_REDIS_SERVER=str(no_server),
    )
    assert "redis ended with status 3 before it was ready" in message
    assert "this is no Redis" in message
    assert str(data_dir / "logs" / "redis.log") in message
    assert not _processes_in(data_dir / "postgres" / "cluster")


def test_a_java_home_without_java_is_explained(tmp_path: Path) -> None:
    message = refused(
        tmp_path / "data", "--no-stages", "--only=kafka", JAVA_HOME=str(tmp_path / "nowhere")
    )
    assert f"JAVA_HOME is {tmp_path / 'nowhere'}, where there is no bin/java" in message
    assert "Traceback" not in message


def test_given_servers_are_used_and_not_started(data_dir: Path) -> None:
    environ = bare_environ(REDIS_URL="redis://given:1/0")
    with Up(data_dir, "--no-stages", "--only=redis", environ=environ) as up:
        assert up.run["redis_url"] == "redis://given:1/0"
        assert up.run["processes"] == []


def _processes_in(directory: Path) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == directory:
                    found.add(int(entry.name))
            except OSError:
                continue
    return found
