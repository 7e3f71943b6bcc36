"""Listing rows of the live generation for an operator, newest first, page by page.

What `tollgate rejected`, `conflicts` and `late` share: arguments, cursors, how bytes and text are
shown. Only reads.
"""

import argparse
import asyncio
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.runtime.json import encode_json
from services.runtime.postgres import DATABASE_AWAY, connect
from services.runtime.records import instant_of
from services.runtime.run_file import environment_of
from services.runtime.settings import settings_or_exit

LIMIT_DEFAULT = 50
# A page is held in memory, and one rejected record can have a megabyte.
LIMIT_MAX = 1_000
# Longer texts are cut where a person reads them; --json has them whole.
SHOWN_LENGTH_MAX = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = dict[str, Any]  # as JSON shows it


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first, and where the next page begins (None: there is none)."""

    rows: list[Row]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """One thing that can be listed."""

    name: str  # of the command and of the list in JSON
    help: str
    read: Callable[[asyncpg.Connection, int, str | None], Awaitable[Page]]
    """(connection, rows at most, cursor); raises BadCursor."""
    lines: Callable[[Row], Sequence[str]]
    """A row as a person reads it."""


class BadCursor(ValueError):
    """What was given as --after is no cursor of this listing."""


def page_of(rows: Sequence[Row], limit: int, cursor: Callable[[Row], str]) -> Page:
    """A page of `limit` rows, given one more than that when there is another page."""
    kept = list(rows[:limit])
    return Page(kept, cursor(kept[-1]) if len(rows) > limit else None)


def cursor_of(row: Row, *more: object) -> str:
    """Where the page after `row` begins: milliseconds, partition, offset and what else sorts."""
    milliseconds = (row["ingested_at"] - _EPOCH) // timedelta(milliseconds=1)
    return ":".join(str(part) for part in (milliseconds, row["partition"], row["offset"], *more))


def place_of(cursor: str | None, *more: Callable[[str], object]) -> list[Any]:
    """The values of a cursor for a query, all None without one; raises BadCursor. `more` read the
    parts after the first three."""
    if cursor is None:
        return [None] * (3 + len(more))
    try:
        parts = zip((_instant, _int4, _int8, *more), cursor.split(":"), strict=True)
        return [read(part) for read, part in parts]
    except (ValueError, OverflowError, OSError) as error:
        raise BadCursor(f"{cursor!r} is no cursor: take what the page before ended with") from error


def _instant(text: str) -> datetime:
    return instant_of(int(text))


def _int4(text: str) -> int:
    return _bounded(int(text), 2**31)


def _int8(text: str) -> int:
    return _bounded(int(text), 2**63)


def _bounded(number: int, end: int) -> int:
    if not 0 <= number < end:
        raise ValueError(number)
    return number


def shown_bytes(value: bytes | None) -> dict[str, str] | None:
    """Bytes for JSON: as text when they are UTF-8, else in base64."""
    if value is None:
        return None
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def in_words(value: dict[str, str] | str | None) -> str:
    """The same for a person: cut, and nothing in it that a terminal would obey."""
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else next(iter(value.values()))
    note = " (base64)" if isinstance(value, dict) and "base64" in value else ""
    if len(text) > SHOWN_LENGTH_MAX:
        note += f" ... ({len(text)} characters; --json shows all)"
        text = text[:SHOWN_LENGTH_MAX]
    return (text if text.isprintable() else repr(text)) + note


def as_text(listing: Listing, page: Page) -> str:
    """The page for a person, with the command that shows the next one."""
    if not page.rows:
        return "none\n"
    blocks = ["\n".join(listing.lines(row)) for row in page.rows]
    if page.next_cursor is not None:
        blocks.append(f"more: tollgate {listing.name} --after {page.next_cursor}")
    return "\n".join(blocks) + "\n"


def as_json(listing: Listing, page: Page) -> str:
    """The page as one line of JSON: {NAME: [...], "next": cursor or null}."""
    return encode_json({listing.name: page.rows, "next": page.next_cursor}).decode() + "\n"


async def _read(url: str, listing: Listing, limit: int, cursor: str | None) -> Page:
    connection = await connect(url)
    try:
        return await listing.read(connection, limit, cursor)
    finally:
        await connection.close()


def run_listing(listing: Listing, argv: list[str]) -> int:
    """The command; exits 1 when PostgreSQL is away, 2 when the arguments are wrong."""
    parser = argparse.ArgumentParser(prog=f"tollgate {listing.name}", description=listing.help)
    parser.add_argument("--json", action="store_true", help="one line of JSON, nothing cut")
    parser.add_argument(
        "--limit",
        type=_limit,
        default=LIMIT_DEFAULT,
        help=f"1 to {LIMIT_MAX}, else {LIMIT_DEFAULT}",
    )
    parser.add_argument("--after", metavar="CURSOR", help="go on after the page that ended so")
    parser.add_argument("--data-dir", help="of a running `tollgate up` (else from the environment)")
    arguments = parser.parse_args(argv)
    settings = settings_or_exit(environment_of(arguments.data_dir), [])
    try:
        page = asyncio.run(_read(settings.database_url, listing, arguments.limit, arguments.after))
    except BadCursor as error:
        parser.error(f"--after: {error}")
    except DATABASE_AWAY as error:
        sys.stderr.write(f"nothing can be listed, PostgreSQL says: {error!r}\n")
        return 1
    sys.stdout.write((as_json if arguments.json else as_text)(listing, page))
    return 0


def _limit(text: str) -> int:
    limit = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= limit <= LIMIT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {LIMIT_MAX}")
    return limit
