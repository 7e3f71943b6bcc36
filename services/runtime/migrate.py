"""Forward-only SQL migrations from schemas/postgres, each in its own transaction, in name order."""

from importlib.resources import files

from services.runtime.postgres import connect

# Any constant: one migrator at a time.
_LOCK = 7_455_001


async def migrate(database_url: str) -> list[str]:
    """Apply what is missing; returns the names applied."""
    scripts = sorted(
        (
            entry
            for entry in files("schemas").joinpath("postgres").iterdir()
            if entry.name.endswith(".sql")
        ),
        key=lambda entry: entry.name,
    )
    # A large table takes its time; cut short, it would be begun anew at every start.
    connection = await connect(database_url, patient=True)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migration")}
        applied = []
        for script in scripts:
            if script.name in done:
                continue
            async with connection.transaction():
                await connection.execute(script.read_text(encoding="utf-8"))
                await connection.execute(
                    "INSERT INTO schema_migration (name) VALUES ($1)", script.name
                )
            applied.append(script.name)
        return applied
    finally:
        await connection.close()
