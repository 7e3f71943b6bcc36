"""The events of one type in a range, as columns: each property is read, and each value parsed, once
for all metrics that want it. Pure; knows no metric.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, TypeVar

from services.domain.aggregate import hour_of
from services.domain.event import UsageEvent
from services.domain.meter import PropertyFilter, property_text
from services.domain.number import Number, parse_numbers

_Cell = TypeVar("_Cell")
Group = tuple[str | None, ...]
Places = Mapping[tuple[Group, int], Sequence[int]]  # (group, hour) -> the positions of its events

_PLAIN = ({str}, {str, type(None)}, {type(None)})


def pick(column: Sequence[_Cell], positions: Sequence[int]) -> Sequence[_Cell]:
    """The cells at positions, which rise; all of them when there are as many."""
    if len(positions) == len(column):
        return column
    return [column[at] for at in positions]


class Columns:
    """Some events, in the order in which they were given. A position is a place in that order."""

    def __init__(self, offsets: Sequence[int], events: Sequence[UsageEvent]) -> None:
        """`offsets`: raw, of the events."""
        self.offsets = offsets
        self.events = events
        self.references = [event.customer_id for event in events]
        self._properties = [event.properties for event in events]
        self._values: dict[str, list[object]] = {}
        self._texts: dict[str, Sequence[str | None]] = {}
        self._numbers: dict[str, list[Number | None]] = {}
        self._places: dict[tuple[str, ...], Places] = {}
        self._hours: Sequence[int] | int | None = None

    def __len__(self) -> int:
        return len(self.events)

    def passing(self, filters: Iterable[PropertyFilter]) -> "Columns":
        """Those that pass every filter; itself when all do."""
        kept: Columns = self
        for rule in filters:
            wanted = kept._passing(rule)
            if wanted is not None:
                kept = Columns(pick(kept.offsets, wanted), pick(kept.events, wanted))
        return kept

    def _passing(self, rule: PropertyFilter) -> list[int] | None:
        """None when all pass."""
        texts = self.texts(rule.name)
        if rule.exists is True and rule.values.is_open and None not in texts:
            return None
        verdicts = {text: rule.passes_text(text) for text in set(texts)}
        if all(verdicts.values()):
            return None
        return [at for at, text in enumerate(texts) if verdicts[text]]

    def values(self, name: str) -> list[object]:
        """A property of every event; None where it is absent or null."""
        held = self._values.get(name)
        if held is None:
            held = self._values[name] = [properties.get(name) for properties in self._properties]
        return held

    def texts(self, name: str) -> Sequence[str | None]:
        """A property of every event, as filters and groups compare it."""
        if name not in self._texts:
            values = self.values(name)
            plain = set(map(type, values)) in _PLAIN
            texts: Any = values if plain else list(map(property_text, values))
            self._texts[name] = texts
        return self._texts[name]

    def numbers(self, name: str) -> list[Number | None]:
        """A property of every event as a number; None where it is none."""
        held = self._numbers.get(name)
        if held is None:
            held = self._numbers[name] = parse_numbers(self.values(name))
        return held

    def places(self, grain: tuple[str, ...]) -> Places:
        """The events by the values of the grain's properties and the hour."""
        held = self._places.get(grain)
        if held is None:
            held = self._places[grain] = self._parted(grain)
        return held

    def _parted(self, grain: tuple[str, ...]) -> Places:
        hours = self._hours_of_events()
        if not grain and isinstance(hours, int):
            return {((), hours): range(len(self.events))}
        groups: Iterable[Group] = zip(*map(self.texts, grain), strict=True) if grain else repeat(())
        if isinstance(hours, int):
            by_group: dict[Group, list[int]] = defaultdict(list)
            for at, group in enumerate(groups):
                by_group[group].append(at)
            return {(group, hours): positions for group, positions in by_group.items()}
        by_place: dict[tuple[Group, int], list[int]] = defaultdict(list)
        for at, place in enumerate(zip(groups, hours, strict=False)):
            by_place[place].append(at)
        return by_place

    def _hours_of_events(self) -> Sequence[int] | int:
        """The hour of every event; one number when it is the same for all."""
        if self._hours is None:
            times: list[datetime] = [event.timestamp for event in self.events]
            first, last = hour_of(min(times)), hour_of(max(times))
            self._hours = first if first == last else list(map(hour_of, times))
        return self._hours
