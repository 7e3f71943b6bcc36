"""Servers for the tests that need real ones: from the environment, else from testcontainers where
Docker answers, else the embedded stack. Never skips: a server that cannot be had fails the test.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer

from services.stack.embedded import EmbeddedServers


@dataclass(frozen=True)
class Servers:
    """Addresses of the three servers."""

    kafka_bootstrap_servers: str
    redis_url: str
    database_url: str


def _from_environment() -> Servers | None:
    names = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "DATABASE_URL")
    values = [os.environ.get(name) for name in names]
    if not all(values):
        return None
    kafka, redis, database = (str(value) for value in values)
    return Servers(kafka, redis, database)


def _docker_answers() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _from_testcontainers() -> Iterator[Servers]:
    with (
        KafkaContainer().with_kraft() as kafka,
        RedisContainer("valkey/valkey:8") as redis,
        PostgresContainer("postgres:17", driver=None) as postgres,
    ):
        address = f"{redis.get_container_host_ip()}:{redis.get_exposed_port(6379)}"
        yield Servers(
            kafka.get_bootstrap_server(), f"redis://{address}/0", postgres.get_connection_url()
        )


def _from_embedded_stack() -> Iterator[Servers]:
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-test-") as directory,
        EmbeddedServers.running(Path(directory)) as servers,
    ):
        yield Servers(servers.kafka_bootstrap_servers, servers.redis_url, servers.database_url)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real Kafka, Redis and PostgreSQL, shared by the whole run."""
    given = _from_environment()
    if given is not None:
        yield given
    elif _docker_answers():
        yield from _from_testcontainers()
    else:
        yield from _from_embedded_stack()
