"""`make bench`: figures that anyone can believe, from a Tollgate of its own on this machine.

Prints a table and writes bench.json. `--quick` has the same keys from smaller counts; `--only`
names parts. Exit status 1 when a part failed or the count was wrong: a fast wrong answer is no
figure.
"""

import argparse
import asyncio
import json
import os
import signal
import time
import traceback
from collections.abc import Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.figures import TARGETS, table
from tests.bench.groups import GROUPS, ONLY_FULL
from tests.bench.report import hardware, versions
from tests.bench.results import Results
from tests.bench.scale import FULL, QUICK, Scale

# What an idle system does beside.
OTHERS_CORES_MAX = 0.1


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM ends it as Ctrl-C does: what was started is ended, what was made is removed. Once
    more ends this process at once, and with it what was started."""
    running = asyncio.ensure_future(work)

    def stop() -> None:
        if running.cancelling():
            os._exit(1)
        print("stopping (once more to end everything now)", flush=True)
        running.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await running


async def run(scale: Scale, only: set[str], results: Results) -> None:
    """Each group of parts on a stack of its own."""
    for group in GROUPS:
        wanted = [name for name in group.parts if name in only]
        if not wanted:
            continue
        try:
            await group.run(scale, wanted, results)
        except Exception as error:  # noqa: BLE001 (other stacks may do)
            traceback.print_exc()
            results.failed(", ".join(wanted), error)


def main() -> int:
    """Entry."""
    known = [name for group in GROUPS for name in group.parts]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller counts, under 3 minutes")
    parser.add_argument("--only", help=f"some of {','.join(known)}")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else FULL
    only = set(arguments.only.split(",")) if arguments.only else set(known)
    if scale.quick and not arguments.only:
        only -= ONLY_FULL
    if unknown := only - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: the parts are {', '.join(known)}")
    began = time.monotonic()
    results = Results()
    document: dict[str, Any] = {
        "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": versions(),
        "settings": {**asdict(scale), "parts": [name for name in known if name in only]},
        "targets": {key: asdict(target) for key, target in TARGETS.items()},
    }
    try:
        asyncio.run(until_stopped(run(scale, only, results)))
    except asyncio.CancelledError as stopped:
        results.failed("what was not measured yet", stopped)
    document["versions"] |= results.servers
    document["seconds"] = time.monotonic() - began
    document["took_s"] = results.durations()
    document["figures"] = results.figures()
    document["errors"] = results.errors
    document["verified"] = results.verified
    document["cores_busy_with_other_work_max"] = results.others_cores()
    document["parts"] = results.parts
    arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    print("\n" + table(results.figures()))
    for title, text in results.tables.values():
        print(f"\n{title}\n{text}")
    print("\nseconds")
    for name, seconds in document["took_s"].items():
        print(f"{name:<20} {seconds:>6.0f}")
    if results.others_cores() > OTHERS_CORES_MAX:
        print(
            f"\nOther work took up to {results.others_cores():.1f} cores meanwhile: rates and"
            " delays are worse than they would be, CPU per event a little."
        )
    for name, error in results.errors.items():
        print(f"\nFAILED {name}: {error}")
    print(f"\n{document['seconds']:.0f} s; everything else is in {arguments.output}")
    return 1 if results.errors else 0


if __name__ == "__main__":
    raise SystemExit(main())
