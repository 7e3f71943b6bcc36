"""JSON as users see it: every digit both ways, and no exponent on the way out."""

from decimal import Decimal

import pytest

from services.runtime.json import decode_json, encode_json


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1E-7", b"0.0000001"),
        ("6E+3", b"6000"),
        ("0.1000000000000000000000000001", b"0.1000000000000000000000000001"),
        ("-1.5E-20", b"-0.000000000000000000015"),
    ],
)
def test_a_number_shows_all_its_digits_wherever_it_stands(number: str, text: bytes) -> None:
    document = {"line_items": [{"price": Decimal(number), "name": "E-mail"}]}
    encoded = encode_json(document)
    assert encoded == b'{"line_items":[{"price":' + text + b',"name":"E-mail"}]}'
    assert decode_json(encoded)["line_items"][0]["price"] == Decimal(number)
