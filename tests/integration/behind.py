"""What no client does: changes behind Tollgate's back, in its database and on its topics."""

import asyncio

from aiokafka import AIOKafkaProducer

from services.runtime.log import RAW
from services.runtime.postgres import connect
from tests.integration.client import Tollgate


def sql(tollgate: Tollgate, *statements: str) -> None:
    """Change the database behind Tollgate's back."""

    async def run() -> None:
        connection = await connect(tollgate.run["database_url"])
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


def put_foreign(tollgate: Tollgate, records: list[tuple[int, bytes | None, bytes]]) -> None:
    """Records on usage.raw that the gateway did not write: (partition, key, value)."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=tollgate.run["kafka_bootstrap_servers"])
        await producer.start()
        try:
            for partition, key, value in records:
                await producer.send_and_wait(RAW, value, key, partition)
        finally:
            await producer.stop()

    asyncio.run(send())
