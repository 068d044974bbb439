"""An adapter's scores as a sentence."""

from sqlite_utils import Database

from bot.commands import scores
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.store.db import Store


def adapter(db: Database, domain: Domain, **golden: float) -> Adapter:
    return registry.register(
        db, domain, version=9, sha256="y", path="y", base_model="pocket", rank=8, size_bytes=1,
        recipe={}, scores={"golden": golden}, dataset_id=None,
    )  # fmt: skip


def test_the_search_the_base_and_the_live_adapter_stand_beside_the_scores(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        made = adapter(
            db, domain, n=50, exact=0.6, f1=0.7, base_exact=0.0, base_f1=0.05, live_exact=0.5,
            search_exact=0.98, search_f1=0.99,
        )  # fmt: skip

    assert scores.sentence(made) == (
        "60% of 50 held-out questions answered exactly (the nearest approved answer 98%, bare base "
        "0%, the live adapter 50%), token F1 0.70 (bare base 0.05)"
    )


def test_older_scores_say_nothing_about_the_search(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made = adapter(db, domain, n=50, exact=0.6, f1=0.7, base_exact=0.0, base_f1=0.05)

    assert "nearest approved answer" not in scores.sentence(made)
