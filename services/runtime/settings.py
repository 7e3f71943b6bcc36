"""Settings: read once from the environment at start, frozen, every error reported together.

No other module of the stages reads the environment.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from services.domain.partition import PARTITION_COUNT_DEFAULT

MEBIBYTE = 1024 * 1024


class SettingsError(Exception):
    """One or more settings are wrong; the message names each with what to do."""


def _scheme(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must start with {' or '.join(f'{s}://' for s in schemes)}")
        return url

    return AfterValidator(check)


class Settings(BaseModel):
    """Every setting of every stage, by the name of its environment variable."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kafka_bootstrap_servers: Annotated[
        str,
        Field(
            alias="KAFKA_BOOTSTRAP_SERVERS",
            min_length=1,
            description="host:port of one or more Kafka brokers, comma-separated",
        ),
    ]
    redis_url: Annotated[
        str,
        _scheme("redis", "rediss", "unix"),
        Field(alias="REDIS_URL", description="the dedup index, e.g. redis://127.0.0.1:6379/0"),
    ]
    database_url: Annotated[
        str,
        _scheme("postgresql", "postgres"),
        Field(alias="DATABASE_URL", description="e.g. postgresql://user:password@host/tollgate"),
    ]
    host: Annotated[
        str, Field(alias="TOLLGATE_HOST", description="address the HTTP server listens on")
    ] = "127.0.0.1"
    port: Annotated[int, Field(alias="TOLLGATE_PORT", ge=0, le=65_535, description="its port")] = (
        8080
    )
    listen_fd: Annotated[
        int | None,
        Field(alias="TOLLGATE_LISTEN_FD", ge=3, description="a listening socket to use instead"),
    ] = None
    notify_socket: Annotated[
        str | None,
        Field(alias="NOTIFY_SOCKET", description="where to report readiness (sd_notify)"),
    ] = None
    log_level: Annotated[
        str,
        Field(alias="TOLLGATE_LOG_LEVEL", pattern="^(DEBUG|INFO|WARNING|ERROR)$"),
    ] = "INFO"
    partitions: Annotated[
        int,
        Field(
            alias="TOLLGATE_PARTITIONS",
            ge=1,
            le=1024,
            description="partitions of each topic; fixed for the life of the topics",
        ),
    ] = PARTITION_COUNT_DEFAULT
    replication_factor: Annotated[
        int,
        Field(
            alias="TOLLGATE_REPLICATION_FACTOR",
            ge=1,
            le=7,
            description="copies of each new topic; 3 with min.insync.replicas=2 in production",
        ),
    ] = 1
    body_bytes_max: Annotated[
        int,
        Field(
            alias="TOLLGATE_BODY_BYTES_MAX",
            ge=1024,
            le=64 * MEBIBYTE,
            description="largest request body; beyond it 413",
        ),
    ] = 4 * MEBIBYTE
    bytes_in_flight_max: Annotated[
        int,
        Field(
            alias="TOLLGATE_BYTES_IN_FLIGHT_MAX",
            ge=MEBIBYTE,
            description="bodies being read or waiting for Kafka in one gateway; beyond it 503",
        ),
    ] = 64 * MEBIBYTE
    raw_retention_days: Annotated[
        int,
        Field(
            alias="TOLLGATE_RAW_RETENTION_DAYS",
            ge=35,
            description="how long usage.raw is kept; longer than the 34 days of dedup",
        ),
    ] = 40
    grace_hours: Annotated[
        int,
        Field(
            alias="TOLLGATE_GRACE_HOURS",
            ge=0,
            le=34 * 24,
            description="from the end of a billing period until its invoice is finalized; usage"
            " that arrives by then is in it",
        ),
    ] = 24
    instance_id: Annotated[
        str | None,
        Field(
            alias="TOLLGATE_INSTANCE_ID",
            pattern="^[A-Za-z0-9._-]{1,200}$",
            description="a name of this worker that no other of its stage has and that it keeps"
            " over restarts: a killed worker then has its partitions back as soon as it is up,"
            " instead of after Kafka's session timeout",
        ),
    ] = None
    failpoint_dir: Annotated[
        Path | None,
        Field(
            alias="TOLLGATE_FAILPOINT_DIR",
            description="for tests only: a folder whose files make this process kill itself",
        ),
    ] = None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from the environment; raises SettingsError that names every fault."""
    present = {name: value for name, value in environ.items() if value != ""}
    try:
        return Settings.model_validate(present)
    except ValidationError as error:
        raise SettingsError(_explained(error)) from error


def _explained(error: ValidationError) -> str:
    help_by_alias = {
        field.alias: field.description or "" for field in Settings.model_fields.values()
    }
    lines = []
    for fault in error.errors():
        name = str(fault["loc"][0])
        hint = f" ({help_by_alias[name]})" if help_by_alias.get(name) else ""
        lines.append(f"  {name}: {fault['msg']}{hint}")
    return "These environment variables are missing or wrong:\n" + "\n".join(lines)


def settings_or_exit(environ: Mapping[str, str], argv: list[str]) -> Settings:
    """Settings for a stage's start; with --check-settings prints them and exits.

    Exits with status 2 and every fault named when they are wrong.
    """
    try:
        settings = read_settings(environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error
    if "--check-settings" in argv:
        secret = {"database_url", "redis_url"}
        for name, field in Settings.model_fields.items():
            value = "(set)" if name in secret else getattr(settings, name)
            sys.stdout.write(f"{field.alias}={value}\n")
        raise SystemExit(0)
    return settings
