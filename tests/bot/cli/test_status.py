"""`understudy status`: one screen, and an exit code for scripts."""

from pathlib import Path

import pytest

from data.adapters import placements, registry
from data.store.db import Store
from tests.bot.cli.conftest import Run, json, make_adapter


def served(store: Store) -> None:
    """art@1 is live and held by a ready engine."""
    adapter = make_adapter(store, "art", 1)
    with store.write() as db:
        registry.promote(db, adapter, "cli:ann")
        placements.record_heartbeat(
            db, "local-1", "http://127.0.0.1:8100", "pocket", "ready", precision="nf4"
        )
        placements.record_loaded(db, "local-1", adapter.id, 5.0)


def test_nothing_needs_attention(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    served(store)

    result = run("status")

    assert result.exit_code == 0, result.output
    for word in ("art@1", "local-1", "ready", "nf4", "Nothing needs attention."):
        assert word in result.output


def test_an_alert_is_shown_and_sets_the_exit_code(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    served(store)
    with store.write() as db:
        placements.record_heartbeat(
            db, "local-2", "http://127.0.0.1:8101", "pocket", "down", "it crashed"
        )

    result = run("status")

    assert result.exit_code == 1
    assert "local-2 is down: it crashed" in result.output


def test_a_deleted_adapter_folder_is_seen(run: Run, store: Store, home: Path) -> None:
    """The engine still has it loaded, but could not load it again."""
    run("domains", "add", "art")
    served(store)
    (home / "adapters" / "art" / "1").rmdir()

    status, doctor = run("status"), run("doctor")

    for result in (status, doctor):
        assert result.exit_code == 1
        assert "The files of art@1 are missing (adapters/art/1)" in result.output
        assert "`understudy tune art --full`" in result.output


def test_an_adapter_that_failed_to_load_is_shown_with_the_reason(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    served(store)
    refused = make_adapter(store, "art", 2)
    with store.write() as db:
        for _ in range(placements.ATTEMPTS):
            placements.record_failed(db, "local-1", refused.id, "It contains NaN.")

    result = run("status")

    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "local-1 cannot serve art@2, 3 times: It contains NaN." in said
    assert "understudy adapters retry art@2" in said


@pytest.mark.parametrize(("state", "shown"), [("ready", "silent"), ("down", "down")])
def test_an_unreachable_engine_shows_no_adapters(
    run: Run, store: Store, state: str, shown: str
) -> None:
    run("domains", "add", "art")
    served(store)
    with store.write() as db:
        db.execute("UPDATE replicas SET heartbeat_at = 0, state = ?", [state])

    (line,) = [line for line in run("status").output.splitlines() if line.startswith(" local-1")]

    assert shown in line
    assert "art@1" not in line


def test_json_has_the_same(run: Run) -> None:
    run("domains", "add", "art")

    result = run("status", "--json")

    assert result.exit_code == 1
    found = json(result)
    assert isinstance(found, dict)
    assert [a["kind"] for a in found["alerts"]] == ["no_engine"]
    assert [d["domain"]["name"] for d in found["domains"]] == ["art"]
