"""The same events give the same invoice, byte for byte: in any order, in any requests, some of them
sent again, counted in any ranges and flushes. Real dedup, rating, projector and pricing.
"""

from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation
from services.projector.projection_postgres import PostgresProjection
from services.rating.catalog_memory import MemoryCatalogSource
from services.runtime.events import WireEvent
from services.runtime.metric_rows import COLUMNS, metric
from tests.api.conftest import Api, Scenario
from tests.api.plan_invoices import charge, make_plan, price, put_on, utc
from tests.contract.projections import in_postgres
from tests.pipeline.harness import Pipeline

Play = Callable[[Scenario], None]
KEYS = [["region", "zone"]]


def events_of(random: Random, references: tuple[str, str]) -> list[WireEvent]:
    """Of October and November, no two at the same time: what is latest is not a matter of order."""
    moments = random.sample(range(61 * 24 * 60), 60)
    return [
        WireEvent(
            f"tx-{minute}",
            random.choice(references),
            "use",
            utc(2026, 10) + timedelta(minutes=minute),
            {
                "n": random.choice(("1", "-2.5", "7", "0.0000000000000000000001", 12, True)),
                **({"region": random.choice(("eu", "us"))} if random.random() < 0.8 else {}),
                "zone": random.choice(("a", "b")),
            },
        )
        for minute in moments
    ]


async def count(api: Api, events: list[WireEvent], random: Random) -> None:
    """As some clients post them and some stages happen to count them."""
    await in_postgres(api.pool)
    rows = await api.pool.fetch(f"SELECT {COLUMNS} FROM billable_metric")
    catalogs = MemoryCatalogSource(Catalog(1, tuple(map(metric, rows))))
    pipeline = Pipeline(catalogs=catalogs)
    pipeline.projection = PostgresProjection(api.pool)  # type: ignore[assignment]  # the real one
    posts = [*events, *random.sample(events, random.randint(0, 20))]
    random.shuffle(posts)
    while posts:
        size = random.randint(1, len(posts))
        pipeline.post(*posts[:size])
        posts = posts[size:]
        if random.random() < 0.5 or not posts:
            pipeline = pipeline.restarted()
            await pipeline.run()


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_split_doubled_and_batched_anew_they_give_the_same_invoices(
    play: Play, seed: int
) -> None:
    async def scenario(api: Api) -> None:
        random = Random(seed)
        tiers = [(0, "1.1"), (2, "0.7"), (10, "0.3333333333333333333333333333")]
        charges = []
        for kind in Aggregation:
            held = await api.make_metric(kind.value, group_keys=KEYS)
            charges += [
                charge(held, *tiers, name=f"{kind} whole", tier_reset_frequency=2),
                charge(held, *tiers, name=f"{kind} volume", tiering="VOLUME"),
                charge(held, *tiers, name=kind.value, product_name="by", group_key=["region"]),
            ]
        plan = await make_plan(api, *charges)
        references = f"one-{seed}", f"other-{seed}"
        customer = await api.make_customer(*references)
        await put_on(api, customer, plan, "2026-10-01")
        events = events_of(random, references)
        documents = set()
        for _ in range(4):
            await count(api, events, random)
            await price(api)
            rows = await api.pool.fetch(
                "SELECT document::text FROM invoice WHERE customer_id = $1 ORDER BY starts_at",
                customer,
            )
            documents.add(tuple(row["document"] for row in rows))
        [found] = documents
        assert len(found) == 2
        listed = (await api.get(f"/v1/customers/{customer}/invoices"))["data"]
        assert all(len(each["line_items"]) > 2 and each["total"] for each in listed)

    play(scenario)
