"""Ports, settings, files, the notify socket, the Kafka probe: the parts that need no server."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from services.stack.data_dir import DataDir
from services.stack.errors import (
    LOG_TAIL_LINES,
    AlreadyRunningError,
    PortError,
    StackSettingsError,
    StartError,
)
from services.stack.files import read_json, remove_stale, write_atomically
from services.stack.kafka_probe import brokers_in, metadata_request
from services.stack.notify import NotifySocket
from services.stack.ports import choose_ports, is_free, listen_for_api
from services.stack.process import LOG_BYTES_MAX, rotate
from services.stack.settings import read_stack_settings


def test_ports_are_kept_while_they_are_free() -> None:
    first = choose_ports(["kafka", "redis"], {})
    assert choose_ports(["kafka", "redis"], first) == first
    assert len(set(first.values())) == 2


def test_ports_stay_out_of_the_range_for_outgoing_connections() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    ports = choose_ports([str(number) for number in range(20)], {}).values()
    assert all(port < low for port in ports)


def test_a_taken_port_is_replaced_by_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        assert choose_ports(["redis"], {"redis": port})["redis"] != port


def test_the_api_listens_where_it_is_told() -> None:
    with listen_for_api(0, None) as first:
        port = first.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(PortError, match=f"--port {port}: .*in use"):
            listen_for_api(port, None)
        with listen_for_api(0, port) as other:
            assert other.getsockname()[1] != port
    with listen_for_api(None, port) as again:
        assert again.getsockname()[1] == port, "the remembered one"


def test_settings_report_every_fault_together(tmp_path: Path) -> None:
    environ = {
        "HOME": str(tmp_path),
        "TOLLGATE_KAFKA_HEAP": "much",
        "TOLLGATE_REDIS_SERVER": str(tmp_path / "absent"),
    }
    with pytest.raises(StackSettingsError) as wrong:
        read_stack_settings(environ)
    assert "TOLLGATE_KAFKA_HEAP is 'much'" in str(wrong.value)
    assert "TOLLGATE_REDIS_SERVER is" in str(wrong.value)


@pytest.mark.parametrize(
    ("environ", "cache_dir"),
    [
        ({"HOME": "/h"}, "/h/.cache/tollgate"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/tollgate"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", "TOLLGATE_CACHE_DIR": "/t"}, "/t"),
    ],
)
def test_where_the_cache_is(environ: dict[str, str], cache_dir: str) -> None:
    assert read_stack_settings(environ).cache_dir == Path(cache_dir)


def test_a_data_directory_has_one_holder(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path), DataDir(tmp_path)
    first.lock()
    with pytest.raises(AlreadyRunningError, match=rf"process {os.getpid()}\) is running on"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_a_path_that_a_servers_settings_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackSettingsError, match="has a comma in its path"):
        DataDir(tmp_path / "a,b").lock()


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    first = DataDir(tmp_path).secrets()
    assert DataDir(tmp_path).secrets() == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert len({first.admin_token, first.postgres_password, first.redis_password}) == 3


def test_a_file_is_replaced_whole_and_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, "old")
    write_atomically(path, '{"a": 1}')
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_is_old_is_removed(tmp_path: Path) -> None:
    for name in (".aside-old", ".aside-new", "kept-old"):
        (tmp_path / name).mkdir()
    for name in (".aside-old", "kept-old"):
        os.utime(tmp_path / name, (0, 0))
    remove_stale(tmp_path, ".aside-", 60)
    assert {path.name for path in tmp_path.iterdir()} == {".aside-new", "kept-old"}


def test_a_log_is_moved_aside_when_too_large(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"small")
    rotate(log)
    assert log.exists()
    with log.open("r+b") as file:
        file.truncate(LOG_BYTES_MAX + 1)
    rotate(log)
    assert [path.name for path in tmp_path.iterdir()] == ["x.log.1"]


def test_an_error_shows_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)), "utf-8")
    shown = str(StartError("kafka", "died", log))
    assert shown.startswith(f"kafka died\nthe end of its log {log}:\n")
    assert shown.count("line ") == LOG_TAIL_LINES
    assert shown.endswith("line 99")
    assert "is empty" in str(StartError("kafka", "died", tmp_path / "absent"))


def test_the_probe_asks_for_no_topic_and_counts_brokers() -> None:
    request = metadata_request()
    assert struct.unpack_from(">i", request)[0] == len(request) - 4
    assert request.endswith(struct.pack(">i", 0))
    assert brokers_in(struct.pack(">ii", 7, 1)) == 1
    assert brokers_in(struct.pack(">ii", 7, 0)) == 0
    assert brokers_in(struct.pack(">ii", 8, 1)) == 0, "an answer to another question"


_SEND = """
import socket, sys
address = sys.argv[1].replace("@", "\\0", 1)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.connect(address)
    notify.sendall(sys.argv[2].encode())
"""


def test_ready_is_heard_among_other_words_and_forgotten_for_the_next_process() -> None:
    async def listen() -> None:
        notify = NotifySocket("dedup")
        try:
            for message in ("STATUS=READY=1 soon", "STATUS=warm\nREADY=1"):
                subprocess.run([sys.executable, "-c", _SEND, notify.address, message], check=True)
            async with asyncio.timeout(5):
                await notify.wait_ready()
            subprocess.run([sys.executable, "-c", _SEND, notify.address, "READY=1"], check=True)
            notify.forget()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await notify.wait_ready()
        finally:
            notify.close()

    asyncio.run(listen())
