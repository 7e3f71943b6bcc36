"""`tollgate token create --name NAME`: makes an API token and prints it, once."""

import argparse
import asyncio
import sys

from services.runtime.postgres import DATABASE_AWAY
from services.runtime.run_file import environment_of
from services.runtime.settings import settings_or_exit
from services.runtime.tokens import create_token


def main(argv: list[str]) -> int:
    """Entry; the token alone goes to standard output."""
    parser = argparse.ArgumentParser(prog="tollgate token", description=__doc__)
    create = parser.add_subparsers(required=True, metavar="create").add_parser(
        "create", help="make a token; it is shown once and kept only as a hash"
    )
    create.add_argument("--name", required=True, help="shows as the actor in the audit log")
    create.add_argument("--data-dir", help="of a running `tollgate up`")
    arguments = parser.parse_args(argv)
    settings = settings_or_exit(environment_of(arguments.data_dir), [])
    try:
        token = asyncio.run(create_token(settings.database_url, arguments.name))
    except DATABASE_AWAY as error:
        sys.stderr.write(f"the token was not created, PostgreSQL says: {error}\n")
        return 1
    sys.stdout.write(f"{token}\n")
    return 0
