"""A connection to Kafka that breaks under uvloop is a broken connection, and nothing worse."""

import asyncio
import struct

import uvloop
from aiokafka.conn import create_conn
from aiokafka.protocol.metadata import MetadataRequest

from tests.runtime.test_process import ended

METADATA, API_VERSIONS = 3, 18


async def _broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says which requests it knows, and answers no other."""
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    _, _, correlation = struct.unpack_from(">hhi", await reader.readexactly(size))
    known = [(METADATA, 0, 1), (API_VERSIONS, 0, 0)]
    answer = struct.pack(">ihi", correlation, 0, len(known))
    answer += b"".join(struct.pack(">hhh", *each) for each in known)
    writer.write(struct.pack(">i", len(answer)) + answer)
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def sent_while_it_breaks() -> list[Exception]:
    """What a request raises in each turn of the loop from the loss of its connection on. For the
    first turns aiokafka does not know of it."""
    raised = []
    async with await asyncio.start_server(_broker, "127.0.0.1") as server:
        host, port = server.sockets[0].getsockname()
        for turns in range(4):
            connection = await create_conn(host, port)
            connection._writer.transport.abort()
            for _ in range(turns):
                await asyncio.sleep(0)
            try:
                async with asyncio.timeout(5):
                    await connection.send(MetadataRequest([]))
            except Exception as error:  # noqa: BLE001 (which one is what the test asks)
                raised.append(error)
            await connection.close()
    return raised


def test_a_request_of_a_stage_on_a_lost_connection_raises_what_aiokafka_expects() -> None:
    act = """
    from tests.runtime.test_uvloop_kafka import sent_while_it_breaks
    for error in await sent_while_it_breaks():
        print(type(error).__name__)
    """
    done = ended("20", act)
    assert done.stdout.split() == ["KafkaConnectionError"] * 4, done.stderr


def test_without_the_mending_uvloop_raises_what_aiokafka_does_not_expect() -> None:
    """When this fails aiokafka is mended itself, and the module can go."""
    raised = uvloop.run(sent_while_it_breaks())
    assert RuntimeError in [type(error) for error in raised]
