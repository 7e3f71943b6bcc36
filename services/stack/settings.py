"""What the stack reads from the environment; every fault is reported together.

The only file of this package that interprets environment variables.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.stack.errors import StackSettingsError

# 256 MB runs one node with some thousand segments; more only postpones the garbage collector.
KAFKA_HEAP_DEFAULT = "256m"
_HEAP = re.compile(r"[1-9][0-9]*[mMgG]")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the three servers are; None for one that is neither given nor started."""

    kafka_bootstrap_servers: str | None = None
    redis_url: str | None = None
    database_url: str | None = None


@dataclass(frozen=True, slots=True)
class StackSettings:
    """Settings of the embedded stack."""

    cache_dir: Path
    java_home: Path | None = None
    kafka_heap: str = KAFKA_HEAP_DEFAULT
    redis_server: Path | None = None
    given: Addresses = field(default=Addresses())


def read_stack_settings(environ: Mapping[str, str]) -> StackSettings:
    """Settings from the environment; raises StackSettingsError that names every fault."""
    present = {name: value for name, value in environ.items() if value}
    faults = []
    heap = present.get("TOLLGATE_KAFKA_HEAP", KAFKA_HEAP_DEFAULT)
    if not _HEAP.fullmatch(heap):
        faults.append(f"  TOLLGATE_KAFKA_HEAP is {heap!r}: give a size such as 256m or 1g")
    redis_server = _path(present, "TOLLGATE_REDIS_SERVER")
    if redis_server is not None and not redis_server.is_file():
        faults.append(
            f"  TOLLGATE_REDIS_SERVER is {redis_server}, which is no file: give the path of a"
            " redis-server or valkey-server, or unset it to use the one that comes with Tollgate"
        )
    if faults:
        raise StackSettingsError("These environment variables are wrong:\n" + "\n".join(faults))
    return StackSettings(
        cache_dir=_cache_dir(present),
        java_home=_path(present, "JAVA_HOME"),
        kafka_heap=heap,
        redis_server=redis_server,
        given=Addresses(
            kafka_bootstrap_servers=present.get("KAFKA_BOOTSTRAP_SERVERS"),
            redis_url=present.get("REDIS_URL"),
            database_url=present.get("DATABASE_URL"),
        ),
    )


def _path(present: Mapping[str, str], name: str) -> Path | None:
    value = present.get(name)
    return Path(value).expanduser().absolute() if value else None


def _cache_dir(present: Mapping[str, str]) -> Path:
    given = _path(present, "TOLLGATE_CACHE_DIR")
    if given is not None:
        return given
    xdg = _path(present, "XDG_CACHE_HOME")
    home = Path(present["HOME"]) if "HOME" in present else Path.home()
    return (xdg or home / ".cache").absolute() / "tollgate"
