"""The database has the currencies that Metronome prices in; an upgrade brings those it lacked."""

from importlib.resources import files

import asyncpg

from services.domain.money import CURRENCIES, CreditType
from services.runtime.migrate import migrate
from tests.contract.conftest import Loop

# METRONOME 1: all that are supported beside USD.
CODES = "AUD BRL CAD CHF CZK EUR GBP INR MXN NGN NOK PLN SEK TRY ZAR NZD SGD DKK CNY"
OWN = "0b3f3f8e-5f1b-4c58-9a4f-1d1f5f5f0d4b"


async def currencies(pool: asyncpg.Pool) -> set[CreditType]:
    rows = await pool.fetch("SELECT * FROM credit_type WHERE is_currency")
    return {CreditType(row["id"], row["name"], row["decimal_places"]) for row in rows}


def test_every_currency_is_there_under_its_id(loop: Loop, pool: asyncpg.Pool) -> None:
    assert {each.name for each in CURRENCIES} == {"USD (cents)", *CODES.split()}
    assert loop.run(currencies(pool)) == set(CURRENCIES)


def test_an_upgrade_brings_them_and_leaves_a_unit_of_that_name_its_id(
    loop: Loop, pool: asyncpg.Pool, database_url: str
) -> None:
    """The database as it was before, where somebody made a DKK for want of one."""
    [script] = [
        each.name
        for each in files("schemas").joinpath("postgres").iterdir()
        if each.name.startswith("0010")
    ]

    async def scenario() -> None:
        await pool.execute("DELETE FROM credit_type WHERE name IN ('CNY', 'DKK')")
        await pool.execute("DELETE FROM schema_migration WHERE name = $1", script)
        await pool.execute("INSERT INTO credit_type VALUES ($1, 'DKK', false, 2)", OWN)
        assert await migrate(database_url) == [script]
        assert await migrate(database_url) == []
        assert await currencies(pool) == set(CURRENCIES)
        own = await pool.fetchrow("SELECT name, is_currency FROM credit_type WHERE id = $1", OWN)
        assert tuple(own) == (f"DKK ({OWN})", False)

    loop.run(scenario())
