"""`understudy doctor` finds problems and says how to fix them."""

from pathlib import Path

from bot.cli.doctor import examine
from data.adapters import placements
from data.config.settings import load
from data.store.db import Store
from tests import fake_nvidia_smi
from tests.bot.cli.conftest import Run


def findings(home: Path, toml: str) -> dict[str, tuple[str, str]]:
    (home / "understudy.toml").write_text(toml)
    return {f.found: (f.state, f.remedy) for f in examine(load(home / "understudy.toml", {}))}


def test_a_working_installation_has_no_problems(run: Run) -> None:
    result = run("doctor")

    assert result.exit_code == 0, result.output


def test_a_running_engine_that_is_down_is_reported_with_its_cause(home: Path) -> None:
    why = "the engine hung (it wrote no token in 30 s)"
    with Store(load(home / "understudy.toml", {}).store_path) as store, store.write() as db:
        placements.record_heartbeat(db, "local-1", "http://x", "pocket", "down", why)
        placements.record_heartbeat(db, "local-2", "http://y", "pocket", "ready")
        placements.record_heartbeat(db, "local-3", "http://z", "pocket", "down", "stopped")

    found = findings(home, "")

    assert found[f"local-1 is down: {why}"][0] == "missing"
    assert found["local-2 is ready"][0] == "ok"
    assert not [f for f in found if "local-3" in f]


def test_missing_tokens_are_named_with_their_variable(home: Path) -> None:
    found = findings(home, '[slack]\nmode = "socket"\n')

    assert found["no bot_token"][0] == "missing"
    assert "UNDERSTUDY_SLACK_BOT_TOKEN_FILE" in found["no bot_token"][1]
    assert found["no app_token"][0] == "missing"


def test_a_folder_without_a_model_is_found(home: Path) -> None:
    (home / "empty").mkdir()

    found = findings(home, '[base]\nmodel = "./empty"\n')

    assert found[f"{(home / 'empty').resolve()} is not a model"][0] == "missing"


def test_an_open_web_chat_is_noted(home: Path) -> None:
    found = findings(home, '[bot]\nhost = "0.0.0.0"\n')

    assert found["anyone who reaches this port can ask"][0] == "note"


def test_cards_are_shown_with_their_free_memory(home: Path, tmp_path: Path, monkeypatch) -> None:
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(80, 79.5))

    found = findings(home, "")

    assert found["NVIDIA H100, 79.5 GiB of 80.0 GiB free"] == ("ok", "")


def test_the_split_of_a_shared_card_is_shown(home: Path, tmp_path: Path, monkeypatch) -> None:
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(16, 16))

    found = findings(home, '[serving]\ngpu_sharing = "split"\n')

    (shared,) = [f for f in found if "for the engine, the rest for runs" in f]
    assert found[shared] == ("ok", "")


def test_a_card_that_is_too_small_is_reported_with_numbers(
    home: Path, tmp_path: Path, monkeypatch
) -> None:
    fake_nvidia_smi.installed(monkeypatch, tmp_path, fake_nvidia_smi.card(2, 2))

    found = findings(home, '[serving]\ngpu_sharing = "split"\n')

    (refused,) = [f for f in found if f.startswith("The engine needs at least")]
    assert "the card has 2.0 GiB" in refused
    assert found[refused][0] == "missing"


def test_sharing_without_a_card_is_reported(home: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    found = findings(home, '[serving]\ngpu_sharing = "sleep"\n')

    (refused,) = [f for f in found if "there is no NVIDIA card here" in f]
    assert found[refused][0] == "missing"
