"""The stack as an ordinary user, and as root on a machine that refuses user namespaces."""

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from services.stack.console import silent
from services.stack.errors import StackError
from services.stack.identity import Identity, find_identity, system_account
from services.stack.ports import choose_ports
from services.stack.postgres_server import PostgresServer, programs
from services.stack.supervisor import Supervisor
from tests.stack.contents import read, write
from tests.stack.running import Up, is_alive, wait_until

NOBODY = 65534
LIMIT_S = 60


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that any user may enter (pytest's own is its user's alone)."""
    directory = Path(tempfile.mkdtemp(prefix="tollgate-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_it_runs_as_an_ordinary_user(open_directory: Path) -> None:
    """Not root: the capability only lets it read the interpreter wherever that is installed."""
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        os.chown(open_directory, NOBODY, NOBODY)
        setpriv = shutil.which("setpriv")
        assert setpriv is not None, "install util-linux, which brings setpriv"
        may_read = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        before = (setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *may_read)
    with Up(open_directory / "data", "--no-stages", before=before) as up:
        write(up.run, "mine")
        for server in ("kafka", "redis", "postgres"):
            assert "mine" in read(up.run, server), server
            uids = Path(f"/proc/{up.pids[server]}/status").read_text("utf-8")
            assert "Uid:\t0" not in uids, server
        pids = up.pids.values()
        up.kill()
        wait_until(lambda: not any(map(is_alive, pids)), 10)


def test_root_uses_a_namespace_and_an_ordinary_user_itself() -> None:
    identity = find_identity(programs() / "postgres")
    assert identity.uid == os.geteuid(), "files stay the invoking user's"


def test_where_namespaces_are_refused_root_borrows_an_account(open_directory: Path) -> None:
    """Where the account cannot even run the server's programs, that is what is said."""
    if os.geteuid() != 0:
        assert find_identity(programs() / "postgres").become is None, "no account is needed"
        return
    identity = _account_or_explained()
    if identity is None:
        return
    data_dir = open_directory / "data"
    data_dir.mkdir(mode=0o700)
    server = PostgresServer(
        data_dir=data_dir,
        directory=data_dir / "postgres",
        log_path=open_directory / "postgres.log",
        port=_free_port(),
        password="secret",
        announce=silent,
        given_identity=identity,
    )
    assert asyncio.run(_users_of(server)) == {identity.uid}
    assert identity.uid in {account.pw_uid for account in pwd.getpwall()}


def test_a_closed_parent_is_named_for_the_account(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return
    identity = _account_or_explained()
    if identity is None:
        return
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(
        closed / "data", closed / "data" / "postgres", tmp_path / "log", 1, "x", silent, identity
    )
    with pytest.raises(StackError, match=f"may not enter {closed}.*--data-dir"):
        asyncio.run(server.prepare())


def _account_or_explained() -> Identity | None:
    """None on a machine whose accounts cannot run the programs (installed in a closed home)."""
    error: StackError | None = None
    try:
        return system_account(programs() / "postgres")
    except StackError as refused:
        error = refused
    assert "can run" in str(error)
    return None


async def _users_of(server: PostgresServer) -> set[int]:
    """Start it, twice over (the second on the first one's files), and see who runs it."""
    users = set()
    for _ in range(2):
        supervisor = Supervisor(silent, lambda: None)
        try:
            async with asyncio.timeout(LIMIT_S):
                await supervisor.start([server])
            connection = await asyncpg.connect(server.url)
            assert await connection.fetchval("SELECT current_database()") == "tollgate"
            await connection.close()
            users |= {Path(f"/proc/{pid}").stat().st_uid for _, pid in supervisor.processes}
        finally:
            await supervisor.stop()
    return users


def _free_port() -> int:
    return choose_ports(["postgres"], {})["postgres"]
