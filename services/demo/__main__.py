"""`make demo`: starts Tollgate in .tollgate, runs the walk-through, shows the lag, stays up.

DEMO_EXIT=1 stops at the end, with exit status 0 only when everything was right.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from services.demo.main import main as walk
from services.demo.show import heading
from services.ops.lag import main as lag
from services.runtime.json import decode_json
from services.runtime.run_file import DEFAULT_DATA_DIR

READY = b"tollgate is ready"
STOP_TIMEOUT_S = 60.0


def main() -> int:
    """Entry."""
    data_dir = os.environ.get("TOLLGATE_DATA_DIR") or DEFAULT_DATA_DIR
    run_file = Path(data_dir) / "run.json"
    if run_file.exists():
        print(f"Tollgate runs in {data_dir} already; the walk-through uses it.")
        return _tell(data_dir)
    up = subprocess.Popen(
        [sys.executable, "-m", "services", "up", "--data-dir", data_dir], stdout=subprocess.PIPE
    )
    try:
        if not _started(up):
            return up.wait() or 1
        status = _tell(data_dir)
        if os.environ.get("DEMO_EXIT") != "1":
            _invite(run_file)
            up.wait()
        return status
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(up)


def _started(up: "subprocess.Popen[bytes]") -> bool:
    """Show what `up` says until it is ready; the rest is shown from the background."""
    assert up.stdout is not None
    for line in up.stdout:
        _show(line)
        if line.startswith(READY):
            threading.Thread(target=_relay, args=(up.stdout,), daemon=True).start()
            return True
    return False


def _relay(lines: IO[bytes]) -> None:
    for line in lines:
        _show(line)


def _show(line: bytes) -> None:
    sys.stdout.write(line.decode(errors="replace"))
    sys.stdout.flush()


def _tell(data_dir: str) -> int:
    status = walk(["--data-dir", data_dir])
    heading("The lag of every stage")
    return lag(["--data-dir", data_dir]) or status


def _invite(run_file: Path) -> None:
    run = decode_json(run_file.read_bytes())
    print(f"\nTollgate stays up at {run['api_url']} until Ctrl-C. To talk to it:\n")
    print(f"  export TOLLGATE_URL={run['api_url']} TOKEN={run['token']}")
    print('  curl -s "$TOLLGATE_URL/v1/customers" -H "Authorization: Bearer $TOKEN"\n')


def _stop(up: "subprocess.Popen[bytes]") -> None:
    if up.poll() is None:
        up.send_signal(signal.SIGTERM)
        up.wait(STOP_TIMEOUT_S)


if __name__ == "__main__":
    raise SystemExit(main())
