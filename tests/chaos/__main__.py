"""`make chaos`: a long run. CHAOS_SECONDS, SEED and RATE set how long, which and how fast; exits
with 1 when an event was lost or doubled, and says which, under which seed and after which faults.
"""

import argparse
import asyncio
import logging
import tempfile
from pathlib import Path

from tests.chaos.run import run
from tests.chaos.world import World
from tests.integration.running import running


def main() -> int:
    """Entry."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=500, help="events a second")
    parser.add_argument("--keep", type=Path, help="an empty folder, kept with all logs and data")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # Kafka goes away on purpose
    with tempfile.TemporaryDirectory(prefix="tollgate-chaos-") as directory:
        data_dir = options.keep or Path(directory)
        failpoints = data_dir / "failpoints"
        failpoints.mkdir(parents=True)
        with running(data_dir, TOLLGATE_FAILPOINT_DIR=str(failpoints)) as tollgate:
            world = World(tollgate, failpoints, [tollgate.run["api_url"]])
            report = asyncio.run(
                run(tollgate, world, seed=options.seed, seconds=options.seconds, rate=options.rate)
            )
            for done in report.faults:
                print(done)
            print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
