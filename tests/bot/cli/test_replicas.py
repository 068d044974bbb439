"""`understudy replicas`: the adapters of each engine, and restarts."""

import threading
import time

from data.adapters import placements
from data.store import audit
from data.store.db import Store
from tests.bot.cli.conftest import Run, json, make_adapter


def beat(store: Store, name: str, state: str = "ready", detail: str = "") -> None:
    with store.write() as db:
        placements.record_heartbeat(
            db,
            name,
            f"http://{name}",
            "pocket",
            state,
            detail,
            precision="bfloat16",
            max_loras=5,
            max_cpu_loras=32,
            max_rank=64,
        )


def test_a_replica_is_listed_with_its_adapters(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    beat(store, "local-1")
    good, bad = make_adapter(store, "art", 1), make_adapter(store, "art", 2)
    with store.write() as db:
        placements.record_loaded(db, "local-1", good.id, 12.5, 0.98)
        placements.record_failed(db, "local-1", bad.id, "It contains NaN.")

    (found,) = json(run("replicas", "list", "--json"))
    assert isinstance(found, dict)

    assert (found["name"], found["state"], found["precision"]) == ("local-1", "ready", "bfloat16")
    assert (found["max_loras"], found["max_cpu_loras"], found["max_rank"]) == (5, 32, 64)
    assert found["streams"] == 0
    by_name = {a["adapter"]: a for a in found["adapters"]}
    assert (by_name["art@1"]["state"], by_name["art@1"]["agreement"]) == ("loaded", 0.98)
    assert (by_name["art@2"]["state"], by_name["art@2"]["error"]) == ("failed", "It contains NaN.")
    shown = "".join(run("replicas", "list").output.split())
    assert "local-1" in shown


def test_a_replica_without_a_heartbeat_is_silent(run: Run, store: Store) -> None:
    beat(store, "local-1")
    with store.write() as db:
        db.execute("UPDATE replicas SET heartbeat_at = 0")
    assert json(run("replicas", "list", "--json"))[0]["state"] == "silent"  # type: ignore[index]
    assert "Is `understudy serve` running?" in run("replicas", "restart").output


def test_all_own_replicas_are_restarted_unless_one_is_named(run: Run, store: Store) -> None:
    for name in ("local-1", "local-2", "gpu1:8000"):
        beat(store, name)

    assert "Restart requested: local-1, local-2" in run("replicas", "restart").output

    asked = {r.name for r in placements.replicas(store.db) if r.restart_asked_at}
    assert asked == {"local-1", "local-2"}
    assert [e.subject for e in audit.recent(store.db)[:2]] == [
        "replica local-2",
        "replica local-1",
    ]


def test_an_unknown_replica_and_an_external_one_are_refused(run: Run, store: Store) -> None:
    beat(store, "gpu1:8000")
    assert "there are: gpu1:8000" in run("replicas", "restart", "local-9").output
    assert "is an external engine" in run("replicas", "restart", "gpu1:8000").output
    assert "no replica to restart" in run("replicas", "restart").output


def test_wait_follows_each_restart_to_its_end(run: Run, store: Store) -> None:
    beat(store, "local-1")

    def serve() -> None:
        """Act like a serve: drain, start, and report the end."""
        while (at := placements.replica(store.db, "local-1").restart_asked_at) is None:
            time.sleep(0.05)
        beat(store, "local-1", "draining", "restarting")
        time.sleep(1)
        beat(store, "local-1")
        with store.write() as db:
            placements.restart_done(db, "local-1", at)

    serving = threading.Thread(target=serve)
    serving.start()
    lines = run("replicas", "restart", "--wait").output.splitlines()
    serving.join()

    assert "local-1: draining, restarting" in lines
    assert lines[-1] == "local-1: done, ready"


def test_a_replica_that_was_replaced_is_done(run: Run, store: Store) -> None:
    beat(store, "local-1")

    def serve() -> None:
        while placements.replica(store.db, "local-1").restart_asked_at is None:
            time.sleep(0.05)
        beat(store, "local-2")
        with store.write() as db:
            placements.delete_others(db, ["local-2"])

    serving = threading.Thread(target=serve)
    serving.start()
    output = run("replicas", "restart", "--wait", "local-1").output
    serving.join()
    assert output.splitlines()[-1] == "local-1: done, replaced by local-2"
