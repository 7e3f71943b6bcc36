"""The published schemas of the records are those of the types that read and write them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from services.runtime.events import WireEvent, encode_event
from services.runtime.record_schemas import DIRECTORY, RECORDS, schema_texts, write
from services.runtime.records import (
    FORMAT_VERSION,
    RATED_FORMAT,
    ConflictRecord,
    RatedBatch,
    RatedConflict,
    RatedMetric,
    RatedRejection,
    RatedTally,
    RejectedRecord,
    UniqueBatch,
    encode,
)

EVENT = encode_event(
    WireEvent("t", "c", "transfer", datetime(2026, 11, 24, tzinfo=UTC), {"bytes": "5000"})
)
UNIQUE = UniqueBatch(
    format=FORMAT_VERSION,
    partition=0,
    first=5,
    last=7,
    ingested_from_ms=1,
    ingested_to_ms=2,
    offsets=[0],
    events=[msgspec.Raw(EVENT)],
    conflicts=[ConflictRecord(1, 4, "t", 2)],
    rejected=[RejectedRecord(2, "not_json", "", None, b"junk", 2)],
)
TALLY = RatedTally(
    group=["eu", None],
    hour=500_000,
    references=["c", "d"],
    counts=[1, 2],
    totals=[7, Decimal("0.1")],
    peaks=[],
    latest_at=[datetime(2026, 11, 24, tzinfo=UTC)],
    latest_offsets=[5],
    latest=[Decimal(2**60)],
    distinct=[["a"], []],
)
RATED = RatedBatch(
    format=RATED_FORMAT,
    partition=0,
    first=5,
    last=7,
    source_offset=0,
    ingested_to_ms=2,
    catalog_version=1,
    counted=1,
    duplicates=1,
    conflicts=1,
    rejected=1,
    unmatched=0,
    metrics=[RatedMetric(UUID(int=1), [TALLY])],
    rejections=[RatedRejection(7, "not_json", "", None, None, b"junk", 2)],
    conflicting=[RatedConflict(6, 4, "t", 2)],
)


@pytest.mark.parametrize("name", RECORDS)
def test_the_published_schema_is_up_to_date(name: str) -> None:
    published = (DIRECTORY / name).read_text(encoding="utf-8")
    assert published == schema_texts()[name], "run: python -m services.runtime.record_schemas"


def test_nothing_else_is_published() -> None:
    assert {path.name for path in DIRECTORY.iterdir()} == set(RECORDS)


def test_writing_gives_the_same_files(tmp_path: Path) -> None:
    for path in write(tmp_path):
        assert path.read_bytes() == (DIRECTORY / path.name).read_bytes()


def faults(schema: dict[str, Any], value: Any, defs: dict[str, Any]) -> list[str]:
    """Where a value departs from the part of JSON Schema that ours use."""
    if "$ref" in schema:
        return faults(defs[schema["$ref"].rpartition("/")[2]], value, defs)
    if "anyOf" in schema:
        found = [faults(option, value, defs) for option in schema["anyOf"]]
        return [] if [] in found else found[0]
    python = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}
    if "type" in schema and not isinstance(value, python[schema["type"]]):
        return [f"{value!r} is no {schema['type']}"]
    below = list(zip(schema["prefixItems"], value, strict=True)) if "prefixItems" in schema else []
    if isinstance(schema.get("items"), dict):
        below += [(schema["items"], item) for item in value]
    if "properties" in schema:
        named = schema["properties"]
        absent = [f"{name} is absent" for name in schema["required"] if name not in value]
        unknown = [f"{name} is unknown" for name in value if name not in named]
        if absent or unknown:
            return absent + unknown
        below += [(named[name], part) for name, part in value.items()]
    return [fault for part, item in below for fault in faults(part, item, defs)]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("usage-raw.schema.json", EVENT),
        ("usage-unique.schema.json", encode(UNIQUE)),
        ("usage-rated.schema.json", encode(RATED)),
    ],
)
def test_a_record_as_written_fits_its_published_schema(name: str, record: bytes) -> None:
    schema = json.loads((DIRECTORY / name).read_text(encoding="utf-8"))
    assert faults(schema, json.loads(record), schema["$defs"]) == []


@pytest.mark.parametrize(
    "damage",
    [
        {"from": None},
        {"from": "5"},
        {"first": 5},
        {"rejected": [{"offset": 1}]},
        {"events": [{"transaction_id": "t"}]},
    ],
)
def test_a_record_that_departs_from_the_schema_is_noticed(damage: dict[str, Any]) -> None:
    """Negative control of the check above."""
    schema = json.loads((DIRECTORY / "usage-unique.schema.json").read_text(encoding="utf-8"))
    assert faults(schema, {**json.loads(encode(UNIQUE)), **damage}, schema["$defs"])
