"""What the clients were told of every event, against what was counted. Pure.

A batch is a group of its own, and its event number n is worth 10**n. So each decimal digit of the
group's total says how often that one event was counted: 1 once, 0 not at all, 2 twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

# 10**35 has 36 digits; a number of Tollgate's may have 38 before the point.
BATCH_EVENTS = 36


class Told(Enum):
    """What a client knows of a batch in the end."""

    ACCEPTED = "accepted"  # answered 200 at least once: counted once, whatever comes
    REFUSED = "refused"  # answered 400 and nothing else: counted never
    UNKNOWN = "unknown"  # 503, a timeout, a lost connection: counted once or never


@dataclass(frozen=True, slots=True)
class Group:
    """The aggregate of one batch as Tollgate has it."""

    count: int
    total: Decimal


@dataclass
class Verdict:
    """Every deviation by name; empty when all is well."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, nothing else."""
        return not (self.lost or self.doubled or self.unexpected)

    @property
    def names(self) -> list[str]:
        """Ids of the events that were lost or doubled."""
        return [*self.lost, *self.doubled]

    def __str__(self) -> str:
        return (
            f"lost {len(self.lost)}: {self.lost[:40]}\n"
            f"doubled {len(self.doubled)}: {self.doubled[:40]}\n"
            f"unexpected {len(self.unexpected)}: {self.unexpected[:40]}"
        )


@dataclass
class Tally:
    """What was told, by batch."""

    told: dict[str, Told] = field(default_factory=dict)

    def sent(self, batch: str) -> None:
        """A batch is about to be sent for the first time."""
        assert batch not in self.told
        self.told[batch] = Told.UNKNOWN

    def answered(self, batch: str, status: int) -> None:
        """A request with this batch was answered; a 200 holds for ever."""
        if status == 200:
            assert self.told[batch] is not Told.REFUSED, f"{batch}: 400, then 200"
            self.told[batch] = Told.ACCEPTED
        elif status == 400:
            assert self.told[batch] is not Told.ACCEPTED, f"{batch}: 200, then 400"
            self.told[batch] = Told.REFUSED

    def events(self, told: Told) -> int:
        """How many events were told this."""
        return BATCH_EVENTS * sum(each is told for each in self.told.values())


def amount(number: int) -> str:
    """What event `number` of a batch is worth."""
    return str(10**number)


def transaction_id(batch: str, number: int) -> str:
    """The id, which is also the event's name in a verdict."""
    return f"{batch}.{number}"


def judge(tally: Tally, groups: Mapping[str, Group]) -> Verdict:
    """Hold what was counted against what was told; `groups` by name of the batch."""
    verdict = Verdict()
    for batch, told in tally.told.items():
        group = groups.get(batch, Group(0, Decimal(0)))
        times = _times(group)
        if times is None:
            verdict.unexpected.append(f"{batch}: {group.count} events are worth {group.total}")
            continue
        for number, counted in enumerate(times):
            name = transaction_id(batch, number)
            if counted > 1:
                verdict.doubled.append(name)
            elif counted == 0 and told is Told.ACCEPTED:
                verdict.lost.append(name)
            elif counted == 1 and told is Told.REFUSED:
                verdict.unexpected.append(f"{name}: counted though refused")
    verdict.unexpected += sorted(f"{name}: never sent" for name in groups.keys() - tally.told)
    return verdict


def _times(group: Group) -> list[int] | None:
    """How often each event was counted; None when the group is no sum of such events."""
    if group.total != int(group.total) or group.total < 0:
        return None
    digits = [int(digit) for digit in reversed(str(int(group.total)))]
    if len(digits) > BATCH_EVENTS or sum(digits) != group.count:
        return None
    return digits + [0] * (BATCH_EVENTS - len(digits))
