"""Differences between what the log says and what PostgreSQL holds: all counted, the first kept."""

from dataclasses import dataclass, field

# As many as somebody reads; the rest is only counted.
SHOWN_MAX = 20
_TEXT_MAX = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where they differ."""

    where: str
    expected: str  # by the log
    found: str  # in PostgreSQL


@dataclass(slots=True)
class Differences:
    """Counts them all."""

    count: int = 0
    first: list[Difference] = field(default_factory=list)

    def add(self, where: str, expected: object, found: object) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < SHOWN_MAX:
            self.first.append(Difference(where, _cut(expected), _cut(found)))

    def explain(self, where: str, expected: object, found: object) -> None:
        """One more, which is why others are there: it comes first."""
        self.count += 1
        self.first.insert(0, Difference(where, _cut(expected), _cut(found)))
        del self.first[SHOWN_MAX:]

    def unless_equal(self, where: str, expected: object, found: object) -> None:
        """One more when they are not the same."""
        if expected != found:
            self.add(where, expected, found)


def _cut(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}..."
