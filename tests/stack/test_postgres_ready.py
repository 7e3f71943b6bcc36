"""A PostgreSQL that dies while it lets us in is not ready yet; it is no fault of the stack's own,
which would end everything that the stack keeps running.
"""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from services.stack.console import silent
from services.stack.postgres_server import PostgresServer

HOST = "127.0.0.1"
# The answers of a server: asks for SCRAM; is shutting down (57P01); has no connection left (53300).
IDS = ["closes", "asks and closes", "is shut down", "is full", "loses us"]
ASKS = b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"


def error(code: str) -> bytes:
    """An ErrorResponse with this code."""
    fields = b"".join(
        kind + text.encode() + b"\x00"
        for kind, text in ((b"S", "FATAL"), (b"C", code), (b"M", "x"))
    )
    return b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\x00"


@pytest.mark.parametrize("answer", [b"", ASKS, *map(error, ("57P01", "53300", "08006"))], ids=IDS)
def test_a_server_that_dies_in_the_handshake_is_asked_again(tmp_path: Path, answer: bytes) -> None:
    asked = 0

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(dies, HOST, 0) as listening:
            server = PostgresServer(
                data_dir=tmp_path,
                directory=tmp_path / "postgres",
                log_path=tmp_path / "log",
                port=listening.sockets[0].getsockname()[1],
                password="secret",
                announce=silent,
            )
            waiting = asyncio.create_task(server.wait_ready())
            while asked < 3 and not waiting.done():
                await asyncio.sleep(0.01)
            assert not waiting.done(), waiting.exception()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(scenario())


def test_a_wrong_password_is_a_fault(tmp_path: Path) -> None:
    """The control: not everything is waited for."""

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(error("28P01"))
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(refuses, HOST, 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            server = PostgresServer(
                tmp_path, tmp_path / "postgres", tmp_path / "log", port, "secret", silent
            )
            async with asyncio.timeout(30):
                await server.wait_ready()

    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(scenario())
