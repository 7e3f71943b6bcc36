"""Asks a broker whether it serves: one Metadata request, written by hand.

By hand because it is asked every 50 ms during a start, and importing a client costs more than
the broker's own start leaves. Never used for data.
"""

import asyncio
import struct

_METADATA = 3
# The oldest version that names the brokers and lets us ask about no topic at all.
_VERSION = 1
_CORRELATION_ID = 7
_CLIENT_ID = b"tollgate-stack"
_ANSWER_WAIT_S_MAX = 1.0
# One broker and no topics: under a hundred bytes.
_ANSWER_BYTES_MAX = 64 * 1024


def metadata_request() -> bytes:
    """The request, with its length in front."""
    header = struct.pack(">hhih", _METADATA, _VERSION, _CORRELATION_ID, len(_CLIENT_ID))
    no_topics = struct.pack(">i", 0)
    body = header + _CLIENT_ID + no_topics
    return struct.pack(">i", len(body)) + body


def brokers_in(answer: bytes) -> int:
    """How many brokers serve, by the answer without its length; 0 while it is still starting."""
    correlation_id, brokers = struct.unpack_from(">ii", answer)
    if correlation_id != _CORRELATION_ID:
        return 0
    return max(0, int(brokers))


async def serves(host: str, port: int) -> bool:
    """Whether the broker answers, and counts itself among those that serve."""
    try:
        async with asyncio.timeout(_ANSWER_WAIT_S_MAX):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(metadata_request())
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                if not 8 <= length <= _ANSWER_BYTES_MAX:
                    return False
                return brokers_in(await reader.readexactly(length)) > 0
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return False
