"""Small files that must be whole or absent, whatever happens in the middle of a write.

Never used for the servers' own data.
"""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

# The data directory holds passwords and a token: nobody else reads any of it.
PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600


def private_directory(path: Path) -> Path:
    """The directory, made (with its parents) if absent, open to its owner only when made here."""
    path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, text: str, mode: int = PRIVATE_FILE) -> None:
    """Replace the file as one step; a reader sees the old text or the new, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)


def write_json(path: Path, value: dict[str, Any], mode: int = PRIVATE_FILE) -> None:
    """Replace the file by this JSON object."""
    write_atomically(path, json.dumps(value, indent=2) + "\n", mode)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in the file; empty when the file is absent or holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def remove_stale(directory: Path, prefix: str, age_s_min: float) -> None:
    """Remove what a killed process left behind: entries of this prefix, untouched for so long."""
    for entry in directory.glob(f"{prefix}*"):
        try:
            if time.time() - entry.stat().st_mtime < age_s_min:
                continue
        except FileNotFoundError:  # another process removes it just now
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
