"""After a kill -9 of any one process, at 2,000 events/s, everything flows again within 30 s: the
process is another one, requests are answered 200, and what they brought is counted.

`python -m tests.chaos.recovery` measures how long it takes.
"""

import asyncio
from collections.abc import Iterator

import pytest

from tests.chaos.recovery import loaded, recovered
from tests.chaos.tally import Told
from tests.chaos.world import SERVERS, STAGES
from tests.integration.client import Tollgate
from tests.integration.running import running

EVENTS_PER_S = 2_000
RECOVERED_S_MAX = 30.0
# So that there is a load, and every stage is busy with it.
WARM_S = 3.0


@pytest.fixture(scope="module")
def tollgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tollgate]:
    """A Tollgate of this module's own."""
    with running(tmp_path_factory.mktemp("recovery")) as up:
        yield up


@pytest.mark.parametrize("name", [*STAGES, *SERVERS])
def test_after_a_kill_everything_flows_again(tollgate: Tollgate, name: str) -> None:
    async def scenario() -> tuple[float, int]:
        async with loaded(tollgate, EVENTS_PER_S) as (load, progress):
            await asyncio.sleep(WARM_S)
            seconds = await recovered(tollgate, load, progress, name)
            return seconds, load.tally.events(Told.ACCEPTED)

    seconds, accepted = asyncio.run(scenario())
    print(f"{name}: {seconds:.1f} s")
    assert seconds < RECOVERED_S_MAX
    assert accepted > EVENTS_PER_S
