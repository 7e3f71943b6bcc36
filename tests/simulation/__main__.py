"""`make simulate SEEDS=20000` runs that many seeds, `make simulate SEED=123` one with its whole
trace. Exits with 1 when a seed failed.
"""

import argparse
import sys

from tests.simulation.run import explained, processes_here, run_many
from tests.simulation.simulation import simulate


def main() -> int:
    """Entry."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one and print every decision")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    options = parser.parse_args()
    if options.seed is not None:
        outcome = simulate(options.seed)
        print("\n".join(outcome.trace))
        print(f"seed {outcome.seed}: {outcome.failure or 'every promise was kept'}")
        return outcome.failure is not None
    tally = run_many(range(options.first, options.first + options.seeds), processes_here())
    for outcome in tally.failed[:3]:
        print(explained(outcome), end="\n\n")
    print(tally)
    if tally.failed:
        print("failed seeds:", *sorted(outcome.seed for outcome in tally.failed))
    return bool(tally.failed)


if __name__ == "__main__":
    sys.exit(main())
