"""Alerts: each one is raised while its cause lasts."""

import pytest

from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import experiments
from data.monitoring import alerts as kinds_of_alerts
from data.monitoring.alerts import FAILED, alerts
from data.store.clock import now_us
from data.store.db import Store, rows
from tests.data import given


def beat(
    store: Store,
    name: str = "one",
    state: str = "ready",
    precision: str = "nf4",
    lora_problem: str = "",
) -> None:
    with store.write() as db:
        placements.record_heartbeat(
            db,
            name,
            f"http://{name}",
            "pocket",
            state,
            precision=precision,
            lora_problem=lora_problem,
        )


def found(store: Store) -> list[tuple[str, str]]:
    return [(a.kind, a.subject) for a in alerts(store.db)]


def said(store: Store) -> str:
    return " ".join(a.text for a in alerts(store.db))


@pytest.fixture
def live(store: Store, domain: Domain) -> Adapter:
    """A live adapter that a ready engine holds."""
    beat(store)
    with store.write() as db:
        made = given.adapter(db, domain, "live")
        placements.record_loaded(db, "one", made.id, 5.0)
    return made


def test_without_problems_there_are_no_alerts(store: Store, live: Adapter) -> None:
    assert alerts(store.db) == []


def test_a_nearly_full_disk_raises_an_alert(store: Store, live: Adapter) -> None:
    (told,) = kinds_of_alerts._disk(store.db, least=10**18)

    assert (told.kind, told.subject) == ("disk", str(store.path.resolve().parent))
    assert "MB of disk space left. The bot stops answering when the disk is full." in told.text


def test_no_engine_was_ever_started(store: Store, domain: Domain) -> None:
    assert found(store) == [("no_engine", "")]
    assert "understudy serve" in said(store)


def test_no_engine_is_ready(store: Store, domain: Domain) -> None:
    beat(store, state="starting")
    assert found(store) == [("no_engine", "")]
    assert "one is starting" in said(store)


def test_one_of_two_engines_is_down(store: Store, live: Adapter) -> None:
    beat(store, "two", "down")
    assert found(store) == [("replica", "two")]


def test_an_engine_without_a_recent_heartbeat(store: Store, live: Adapter) -> None:
    beat(store, "two")
    with store.write() as db:
        db.execute("UPDATE replicas SET heartbeat_at = 1 WHERE name = 'two'")
    assert found(store) == [("replica", "two")]
    assert "has sent no heartbeat" in said(store)


def test_a_live_adapter_on_no_engine_and_its_fallback(
    store: Store, domain: Domain, live: Adapter
) -> None:
    with store.write() as db:
        newer = given.adapter(db, domain, "live")
    assert found(store) == [("not_held", newer.name)]
    assert f"{live.name} answers instead" in said(store)
    with store.write() as db:
        placements.drop(db, "one", live.id)
    assert "The bare base answers instead" in said(store)


def test_an_adapter_in_a_comparison_on_no_engine(
    store: Store, domain: Domain, live: Adapter
) -> None:
    with store.write() as db:
        other = given.adapter(db, domain)
        experiments.start(db, domain, live, other, "cli:ann")
    assert found(store) == [("not_held", other.name)]


def test_a_refused_adapter_with_its_reason_and_advice(
    store: Store, domain: Domain, live: Adapter
) -> None:
    with store.write() as db:
        other = given.adapter(db, domain)
        for _ in range(3):
            placements.record_failed(db, "one", other.id, "It contains NaN.")
    assert found(store) == [("refused", other.name)]
    assert "one cannot serve helpdesk@2, 3 times: It contains NaN." in said(store)
    assert "understudy adapters retry helpdesk@2" in said(store)


def test_a_refused_adapter_that_is_no_longer_needed(
    store: Store, domain: Domain, live: Adapter
) -> None:
    with store.write() as db:
        other = given.adapter(db, domain)
        placements.record_failed(db, "one", other.id, "It contains NaN.")
        registry.retire(db, other, "cli:ann")
    assert alerts(store.db) == []


def test_fallback_answers_are_counted_for_an_hour(
    store: Store, domain: Domain, live: Adapter
) -> None:
    with store.write() as db:
        for _ in range(2):
            reply = given.reply(db, domain)
            db.execute("UPDATE replies SET instead_of = ? WHERE id = ?", [live.id, reply])
    assert found(store) == [("stood_in", live.name)]
    assert "a fallback gave 2 answers" in said(store)
    with store.write() as db:
        db.execute("UPDATE replies SET created_at = ?", [now_us() - 3601 * 1_000_000])
    assert alerts(store.db) == []


def test_answers_that_failed_raise_an_alert_and_are_no_fallback_answers(
    store: Store, domain: Domain, live: Adapter
) -> None:
    """An engine that hangs may count as healthy; the questions without an answer tell."""
    with store.write() as db:
        for _ in range(3):
            assert alerts(db) == []
            reply = given.reply(db, domain)
            sql = "UPDATE replies SET status = 'failed', error = 'It hung.', instead_of = ?"
            db.execute(f"{sql} WHERE id = ?", [live.id, reply])
    assert found(store) == [("failed", "")]
    assert "3 questions of the last hour got no answer. The last reason: It hung." in said(store)
    for number in range(3):  # ids are random, and tell no order
        with store.write() as db:
            db.execute("UPDATE replies SET error = 'earlier'")
            sql = "UPDATE replies SET error = 'newest', created_at = ? WHERE id = (SELECT id FROM "
            sql += "replies ORDER BY id LIMIT 1 OFFSET ?)"
            db.execute(sql, [now_us(), number])
        assert "The last reason: newest" in said(store)
    with store.write() as db:
        db.execute("UPDATE replies SET created_at = ?", [now_us() - 3601 * 1_000_000])
    assert alerts(store.db) == []
    (step,) = rows(store.db, f"EXPLAIN QUERY PLAN {FAILED}", [1])
    assert "replies_failed (created_at>?)" in step["detail"]


def test_an_engine_with_slow_lora_operations(store: Store, live: Adapter) -> None:
    beat(store, "one", lora_problem="its version is unknown")
    assert found(store) == [("slow_adapters", "one")]
    assert "because its version is unknown." in said(store)
    beat(store, "one")
    assert alerts(store.db) == []


def test_engines_with_different_bases(store: Store, live: Adapter) -> None:
    beat(store, "two", precision="bfloat16")
    assert found(store) == [("unequal", "")]
    assert "one: pocket in nf4, two: pocket in bfloat16" in said(store)
