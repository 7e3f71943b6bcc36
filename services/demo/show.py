"""How the walk-through looks in a terminal. Prints; decides nothing."""

import json


def heading(text: str) -> None:
    """A step begins."""
    print(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    """What came out of a step."""
    print(f"  {text}")


def curl(method: str, path: str, body: object) -> None:
    """The same call as a curl line."""
    line = f'  $ curl -s "$TOLLGATE_URL{path}" -H "Authorization: Bearer $TOKEN"'
    if method != "GET":
        line += f" -d '{json.dumps(body)}'"
    print(line)
