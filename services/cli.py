"""The command `tollgate`: one subcommand a job, each imported only when it is asked for.

Dispatch only; no stage's logic belongs here.
"""

import importlib
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: the module that has `main(argv) -> int`, and what it says in the help."""

    module: str
    help: str


COMMANDS = {
    "up": Command("services.stack.up", "start everything on this machine: Kafka to gateway"),
    "demo": Command("services.demo.main", "the walk-through, against a running Tollgate"),
    "serve": Command("services.serve", "the whole HTTP API on one address: gateway and API"),
    "gateway": Command("services.serve_gateway", "only POST /v1/ingest"),
    "api": Command("services.serve_api", "the HTTP API without ingest"),
    "dedup": Command("services.dedup.__main__", "the dedup stage"),
    "rating": Command("services.rating.__main__", "the rating stage (Faust)"),
    "projector": Command("services.projector.__main__", "the projector and the pricing of drafts"),
    "lag": Command("services.ops.lag", "how far each stage is behind, by partition"),
    "replay": Command("services.replay.main", "count the log again, compare, promote, roll back"),
    "verify": Command(
        "services.ops.verify", "whether every event is accounted for; --deep: exactly"
    ),
    "rejected": Command("services.ops.rejected", "events that were not counted, and why"),
    "late": Command("services.ops.late", "final invoices for which usage came too late"),
    "conflicts": Command("services.ops.conflicts", "events that reuse an id with other content"),
    "token": Command("services.ops.token", "create API tokens"),
    "init": Command("services.ops.init", "create the topics and migrate the database"),
}


def usage() -> str:
    """The help text."""
    lines = [f"  {name:<10} {command.help}" for name, command in COMMANDS.items()]
    return (
        "usage: tollgate COMMAND [OPTION ...]\n\n"
        + "\n".join(lines)
        + "\n\n`tollgate COMMAND --help` says more; stages take --check-settings.\n"
    )


def main(argv: list[str]) -> int:
    """Run a subcommand; returns its exit status, 2 for an unknown one."""
    if not argv or argv[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0
    command = COMMANDS.get(argv[0])
    if command is None:
        sys.stderr.write(f"tollgate: there is no command {argv[0]!r}\n\n{usage()}")
        return 2
    module = importlib.import_module(command.module)
    status: int = module.main(argv[1:])
    return status


def entry() -> int:
    """Entry point of the installed command."""
    return main(sys.argv[1:])
