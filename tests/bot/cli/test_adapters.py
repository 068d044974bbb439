"""`understudy adapters`, and its effect on a running comparison."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from data import home_lock
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.conversations import conversations
from data.store import audit
from data.store.db import Store
from tests import adapter_maker
from tests.bot.cli.conftest import Run, json, make_adapter
from tests.evaluated import evaluated


def live(run: Run) -> list[str]:
    found = json(run("adapters", "list", "--json"))
    assert isinstance(found, list)
    return [f"{a['domain']}@{a['version']}" for a in found if a["state"] == "live"]


def test_promote_and_roll_back_change_the_live_adapter(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    for version in (1, 2):
        make_adapter(store, "art", version)

    seen = []
    for command in (("promote", "art@1"), ("promote", "art@2"), ("rollback", "art")):
        result = run("adapters", *command)
        assert result.exit_code == 0, result.output
        seen.append(live(run))

    assert seen == [["art@1"], ["art@2"], ["art@1"]]


def test_the_list_shows_the_beginning_of_a_long_reason(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    made = make_adapter(store, "art", 1)
    with store.write() as db:
        db.execute("UPDATE adapters SET state_reason = ? WHERE id = ?", ["so " * 90, made.id])

    assert run("adapters", "list").output.count("so") < 30
    assert run("adapters", "show", "art@1").output.count("so") >= 90


def test_the_first_promotion_can_be_undone_too(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    make_adapter(store, "art", 1)
    run("adapters", "promote", "art@1")

    asked = run("adapters", "rollback", "art")
    assert asked.exit_code == 1
    assert "so people get approved answers word for word, or in the answer mode" in asked.output
    assert live(run) == ["art@1"]

    result = run("adapters", "rollback", "art", "--yes")

    assert "No adapter is live any more: people get approved answers" in result.output
    assert live(run) == []


def test_a_roll_back_without_a_promotion_is_refused(run: Run) -> None:
    run("domains", "add", "art")

    result = run("adapters", "rollback", "art")

    assert result.exit_code == 1
    assert "art has no promotion to roll back" in result.output


def test_promoting_ends_the_comparison(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    for version in (1, 2):
        make_adapter(store, "art", version)
    run("ab", "start", "art", "1", "2")

    def state() -> str:
        status = json(run("ab", "status", "art", "--json"))
        return status["experiment"]["state"]  # type: ignore[index, no-any-return]

    asked = run("adapters", "promote", "art@2")
    ends = "This ends comparison 1 of art, art@1 with art@2, without a decision"
    assert (asked.exit_code, ends in asked.output, state()) == (1, True, "running")

    assert run("adapters", "promote", "art@2", input="y\n").exit_code == 0
    assert state() == "stopped"


def test_rolling_back_asks_before_it_ends_the_comparison(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    for version in (1, 2):
        make_adapter(store, "art", version)
        run("adapters", "promote", f"art@{version}")
    assert run("adapters", "rollback", "art").exit_code == 0, "nothing ends, so nothing is asked"
    run("adapters", "promote", "art@2")
    run("ab", "start", "art", "live", "1")

    asked = run("adapters", "rollback", "art", input="n\n")
    assert (asked.exit_code, live(run)) == (1, ["art@2"])
    assert "This ends comparison 1 of art, art@2 with art@1" in asked.output

    assert "art@1 answers again" in run("adapters", "rollback", "art", "--yes").output


def test_a_second_comparison_is_refused(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    for version in (1, 2):
        make_adapter(store, "art", version)
    run("ab", "start", "art", "base", "1")

    result = run("ab", "start", "art", "1", "2")

    assert result.exit_code == 1
    assert "is already comparing base and art@1" in result.output


def test_every_change_is_in_the_audit_log(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    make_adapter(store, "art", 1)
    run("adapters", "promote", "art@1")
    run("adapters", "rollback", "art", "--yes")

    entries = json(run("audit", "--json"))

    assert isinstance(entries, list)
    assert [e["action"] for e in entries] == ["rollback", "promote", "domain add"]


def on_disk(home: Path, adapter: Adapter) -> Path:
    """The adapter's folder, with something in it."""
    folder = adapter.folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def test_retiring_a_candidate_mentions_its_open_answers(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    adapter = make_adapter(store, "art", 1)
    with store.write() as db:
        placements.record_heartbeat(db, "local-1", "http://engine", "pocket", "ready")
        thread = conversations.open_thread(db, "t", adapter.domain_id, "p")
        conversations.ask(
            db,
            reply_id="r1",
            conversation=thread,
            person="p",
            text="Why?",
            adapter_id=adapter.id,
            variant_id=None,
            replica="local-1",
        )

    result = run("adapters", "retire", "art@1")

    assert "art@1 is retired. It will finish the answer that it is writing." in result.output
    assert run("adapters", "retire", "art@1").exit_code == 1


def test_the_live_adapter_is_not_retired(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    make_adapter(store, "art", 1)
    run("adapters", "promote", "art@1")

    result = run("adapters", "retire", "art@1")

    assert result.exit_code == 1
    assert "understudy adapters rollback art" in result.output
    assert live(run) == ["art@1"]


def test_files_are_deleted_at_once_when_nothing_serves(run: Run, store: Store, home: Path) -> None:
    run("domains", "add", "art")
    adapter = make_adapter(store, "art", 1)
    folder = on_disk(home, adapter)
    with store.write() as db:  # left by a serve that has stopped
        placements.record_heartbeat(db, "local-1", "http://engine", "pocket", "ready")
        placements.record_loaded(db, "local-1", adapter.id, 1.0)
    run("adapters", "retire", "art@1")

    result = run("adapters", "remove", "art@1")

    assert "art@1 is removed" in result.output
    assert not folder.exists()
    assert "removed 20" in " ".join(run("adapters", "show", "art@1").output.split())
    assert "was removed" in run("adapters", "promote", "art@1").output


def test_files_stay_while_an_external_engine_holds_them(run: Run, store: Store, home: Path) -> None:
    run("domains", "add", "art")
    adapter = make_adapter(store, "art", 1)
    folder = on_disk(home, adapter)
    with store.write() as db:
        placements.record_heartbeat(db, "gpu1:8000", "http://gpu1:8000", "pocket", "ready")
        placements.record_loaded(db, "gpu1:8000", adapter.id, 1.0)
    run("adapters", "retire", "art@1")

    result = run("adapters", "remove", "art@1")

    assert "will be deleted once gpu1:8000 has unloaded it" in result.output
    assert folder.exists()
    assert "being removed" in run("adapters", "show", "art@1").output


def test_a_running_serve_deletes_the_files(run: Run, store: Store, home: Path) -> None:
    run("domains", "add", "art")
    folder = on_disk(home, make_adapter(store, "art", 1))
    run("adapters", "retire", "art@1")

    with home_lock.only_one(home, "serve"):
        result = run("adapters", "remove", "art@1")

    assert "its files will be deleted in a few seconds" in result.output
    assert folder.exists()


def test_a_failed_adapter_is_retried_on_request(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    adapter = make_adapter(store, "art", 1)
    with store.write() as db:
        placements.record_heartbeat(db, "local-1", "http://engine", "pocket", "ready")
        for _ in range(placements.ATTEMPTS):
            placements.record_failed(db, "local-1", adapter.id, "no room")
    assert placements.placements_of(store.db, adapter.id)[0].given_up

    result = run("adapters", "retry", "art@1")

    assert "Loading of art@1 will be retried on local-1." in result.output
    assert not placements.placements_of(store.db, adapter.id)[0].given_up


def test_a_rejected_adapter_is_accepted_with_a_recorded_reason(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    with store.write() as db:
        evaluated(db, passed=False, reason="It is worse.")

    refused = run("adapters", "promote", "art@2")
    without = run("adapters", "accept", "art@2")
    accepted = run("adapters", "accept", "art@2", "--reason", "The golden set was wrong.")
    promoted = run("adapters", "promote", "art@2")

    assert "was rejected: It is worse. To use it anyway" in refused.output
    assert without.exit_code == 2
    assert accepted.output.startswith("art@2 is now a candidate.")
    assert promoted.exit_code == 0, promoted.output
    (entry,) = [e for e in audit.recent(store.db) if e.action == "accept"]
    assert entry.subject == "art@2"
    assert entry.detail == {"reason": "The golden set was wrong.", "rejected": "It is worse."}
    assert "The golden set was wrong" in run("adapters", "show", "art@2").output


def test_only_a_rejected_adapter_is_accepted(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    make_adapter(store, "art", 1)

    result = run("adapters", "accept", "art@1", "--reason", "why not")

    assert result.exit_code == 1
    assert "art@1 is candidate; only a rejected adapter is accepted" in result.output


@pytest.mark.slow
def test_an_exported_adapter_can_be_imported(run: Run, store: Store, home: Path) -> None:
    run("domains", "add", "art")
    first = adapter_maker.register(store, Settings(home=home), "art")

    out = run("adapters", "export", "art@1", "elsewhere")
    back = run("adapters", "import", "elsewhere", "--domain", "art")

    assert out.output == "art@1 is in elsewhere.\n"
    assert "art@2 is a candidate: rank 8" in back.output
    again = registry.get(store.db, "art@2")
    one, two = (load_file(a.folder(home) / "adapter_model.safetensors") for a in (first, again))
    assert {name: t.tolist() for name, t in one.items()} == {
        name: t.tolist() for name, t in two.items()
    }


@pytest.mark.slow
def test_an_export_for_ollama_says_that_it_is_untested(run: Run, store: Store, home: Path) -> None:
    run("domains", "add", "art")
    adapter_maker.register(store, Settings(home=home), "art")

    result = run("adapters", "export", "art@1", "elsewhere", "--format", "ollama")

    assert "has not been tested with Ollama" in result.output
    assert "`ollama create art-1 -f elsewhere/Modelfile`" in result.output
    assert (home / "elsewhere" / "Modelfile").is_file()
