"""Addresses of a running `tollgate up`, from its run.json, so that commands need no environment.

An environment that names the servers wins; otherwise --data-dir, TOLLGATE_DATA_DIR or ./.tollgate.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from services.runtime.json import decode_json

DEFAULT_DATA_DIR = ".tollgate"
_NAMES = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka_bootstrap_servers",
    "REDIS_URL": "redis_url",
    "DATABASE_URL": "database_url",
    "TOLLGATE_PARTITIONS": "partitions",
}


def environment_of(data_dir: str | None) -> Mapping[str, str]:
    """The environment, completed from run.json; a directory that is named outright wins over it.

    Raises SystemExit with what to do when a named directory has no running Tollgate.
    """
    directory = data_dir or os.environ.get("TOLLGATE_DATA_DIR") or DEFAULT_DATA_DIR
    run_file = Path(directory) / "run.json"
    if not run_file.exists():
        if data_dir is not None:
            raise SystemExit(f"no Tollgate runs in {data_dir} (no run.json); `tollgate up` first")
        return os.environ
    run = decode_json(run_file.read_bytes())
    # A server that was not started (--only) has no address there.
    found = {name: str(run[key]) for name, key in _NAMES.items() if run[key] is not None}
    return {**os.environ, **found} if data_dir else {**found, **os.environ}
