"""`tollgate demo`: the walk-through against a running `tollgate up`. Starts nothing itself."""

import argparse
import sys
from pathlib import Path

from services.demo.story import WalkThroughFailed, walk_through
from services.runtime.json import decode_json
from services.runtime.run_file import DEFAULT_DATA_DIR


def main(argv: list[str]) -> int:
    """Entry; 0 only when every step came out right."""
    parser = argparse.ArgumentParser(prog="tollgate demo", description=__doc__)
    parser.add_argument("--data-dir", default=DEFAULT_DATA_DIR, help="of the running tollgate up")
    run_file = Path(parser.parse_args(argv).data_dir) / "run.json"
    if not run_file.exists():
        sys.stderr.write(f"there is no {run_file}: start `tollgate up` first, or name --data-dir\n")
        return 1
    run = decode_json(run_file.read_bytes())
    try:
        walk_through(run["api_url"], run["token"])
    except WalkThroughFailed as failure:
        sys.stderr.write(f"\nthe walk-through failed: {failure}\n")
        return 1
    print("\nAll as it must be.")
    return 0
