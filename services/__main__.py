"""`python -m services COMMAND`: the same as the installed command `tollgate`."""

from services.cli import entry

raise SystemExit(entry())
