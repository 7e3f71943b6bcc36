"""Everything the stack can refuse with; each message says what was wrong, where, and what to do.

StackError
├── StackSettingsError   a setting or an option is wrong
├── FetchError           Kafka's files cannot be had, or are not the pinned ones
├── JavaError            no usable Java
├── AlreadyRunningError  another supervisor holds the data directory
├── PortError            a port is taken
└── StartError           a server or stage did not become ready
"""

from pathlib import Path

# Enough for a Java stack trace with its cause; more hides the line that matters.
LOG_TAIL_LINES = 20
# Read from the end of a log to find those lines.
LOG_TAIL_BYTES = 16 * 1024


class StackError(Exception):
    """The embedded stack cannot go on; the message is for the person at the terminal."""


class StackSettingsError(StackError):
    """A setting or an option is wrong."""


class FetchError(StackError):
    """Kafka's files cannot be had, or are not the pinned ones."""


class JavaError(StackError):
    """No usable Java."""


class AlreadyRunningError(StackError):
    """Another supervisor holds the data directory."""


class PortError(StackError):
    """A port is taken."""


class StartError(StackError):
    """A server or stage did not become ready."""

    def __init__(self, name: str, problem: str, log_path: Path) -> None:
        super().__init__(f"{name} {problem}\n{log_tail(log_path)}")
        self.name = name


def log_tail(log_path: Path) -> str:
    """The last lines of a log, with its path, fit to print below an error."""
    try:
        with log_path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    if not lines:
        return f"its log {log_path} is empty"
    tail = "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:])
    return f"the end of its log {log_path}:\n{tail}"
