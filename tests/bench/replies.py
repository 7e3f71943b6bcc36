"""Reading an HTTP/1.1 reply from the bytes that came. Pure. Takes what says its length, only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, body, and whether the server closes the connection after it."""

    status: int
    body: bytes
    closes: bool


class NotHttp(Exception):
    """The bytes are no reply that can be delimited."""


def read_reply(received: bytes) -> Reply | None:
    """The reply, None while it is not whole; raises NotHttp for anything else, and for more than
    one reply: nobody asked for a second."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = received[:end].split(b"\r\n")
    version, _, rest = lines[0].partition(b" ")
    if version != b"HTTP/1.1" or not rest[:3].isdigit():
        raise NotHttp(f"status line {lines[0]!r}")
    length = None
    closes = False
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"content-length":
            length = int(value)
        elif name == b"connection":
            closes = value.strip().lower() == b"close"
        elif name == b"transfer-encoding":
            raise NotHttp("a reply in chunks")
    if length is None:
        raise NotHttp("a reply without its length")
    whole = end + 4 + length
    if len(received) < whole:
        return None
    if len(received) > whole:
        raise NotHttp("more than one reply")
    return Reply(int(rest[:3]), received[end + 4 :], closes)
