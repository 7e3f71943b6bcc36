"""The JSON Schemas of the records on the topics, made from the types that read and write them.

    python -m services.runtime.record_schemas      # writes schemas/records/*.schema.json

Stable: the same types give the same bytes. Nothing reads the files at run time; a test holds them
equal to what this module makes.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

import schemas
from services.runtime.events import WireEvent
from services.runtime.records import RatedBatch, UniqueEvents

DIRECTORY = Path(schemas.__file__).parent / "records"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

# File name -> (title, type of the record's value).
RECORDS: Mapping[str, tuple[str, type[msgspec.Struct]]] = {
    "usage-raw.schema.json": ("A record of usage.raw: one usage event", WireEvent),
    "usage-unique.schema.json": ("A record of usage.unique: one range after dedup", UniqueEvents),
    "usage-rated.schema.json": ("A record of usage.rated: one range after rating", RatedBatch),
}


def schema_texts() -> dict[str, str]:
    """File name -> text of every schema."""
    return {name: _text(title, record) for name, (title, record) in RECORDS.items()}


def _text(title: str, record: type[msgspec.Struct]) -> str:
    made: dict[str, Any] = msgspec.json.schema(record)
    document = {"$schema": DIALECT, "title": title, **made}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(directory: Path) -> list[Path]:
    """Write every schema below `directory`; returns the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in schema_texts().items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def main() -> int:
    """Entry."""
    for path in write(DIRECTORY):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
