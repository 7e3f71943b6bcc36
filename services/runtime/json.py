"""Exact JSON: numbers keep every digit both ways (int or Decimal, never float)."""

from decimal import Decimal
from typing import Any

import msgspec

_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class NotJson(ValueError):
    """The bytes are not JSON; the message says where and why."""


def decode_json(body: bytes | str) -> Any:
    """Parse JSON; raises NotJson (bad syntax, bad UTF-8, nesting too deep, impossible number)."""
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise NotJson(str(error)) from error
    except UnicodeDecodeError as error:
        raise NotJson(f"text is not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise NotJson("nested too deeply") from error
    except ArithmeticError as error:
        raise NotJson("a number's exponent is out of range") from error


def encode_json(value: object) -> bytes:
    """Encode; Decimal becomes a JSON number with all its digits and no exponent (give it
    `services.domain.number.plain` first, which takes off zeros at the end)."""
    encoded = _ENCODER.encode(value)
    if b"E-" in encoded or b"E+" in encoded:
        return _ENCODER.encode(_positional(value))
    return encoded


def _positional(value: object) -> object:
    """The same document with every Decimal in positional notation: 0.0000001, never 1E-7."""
    if isinstance(value, Decimal):
        return raw_json(format(value, "f"))
    if isinstance(value, dict):
        return {key: _positional(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_positional(part) for part in value]
    return value


def raw_json(text: str | bytes) -> msgspec.Raw:
    """Stored JSON text, to be put into a larger document as it is."""
    return msgspec.Raw(text if isinstance(text, bytes) else text.encode())
