"""`understudy tune`: recipes, and where the run is executed."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.cli import waiting
from data import domains
from data.adapters import registry
from data.config.settings import ServingSettings
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.store.db import Store
from tests.bot.cli.conftest import Run, json, make_adapter
from tuning import child_process

GOOD = '{"prompt": "What is red?", "response": "A colour."}\n'


@pytest.fixture(autouse=True)
def child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small program replaces the tuning process that a worker starts."""
    program = (sys.executable, "-c", "raise SystemExit('done here')")
    monkeypatch.setattr(child_process, "PROGRAM", program)
    monkeypatch.setattr(waiting, "WORKER_GRACE_S", 0.0)


@pytest.fixture
def taught(run: Run, home: Path) -> None:
    (home / "p.jsonl").write_text(GOOD)
    run("domains", "add", "art")
    run("domains", "add", "other")
    run("pairs", "import", "art", "p.jsonl")


def soon(store: Store, action: Callable[[], None]) -> threading.Thread:
    """Call `action` once the command waits."""

    def wait() -> None:
        while not runs.recent(store.db, domains.get(store.db, "art")):
            time.sleep(0.02)
        time.sleep(1)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.usefixtures("taught")
def test_without_a_worker_the_command_executes_the_run(run: Run) -> None:
    result = run("tune", "art")

    assert "done here" in result.output


@pytest.mark.usefixtures("taught")
def test_the_command_waits_for_a_busy_worker(run: Run, store: Store) -> None:
    with store.write() as db:
        runs.queue(db, domains.get(db, "other"), "cli:ann", kind="full")
        runs.claim(db, "busy")
    made = make_adapter(store, "other", 1)

    def next_one() -> None:
        with store.write() as db:
            runs.finish(db, runs.get(db, 1), made.id)
            claimed = runs.claim(db, "busy")
            assert claimed is not None
            runs.fail(db, runs.get(db, claimed.id), "done by the worker")

    thread = soon(store, next_one)
    result = run("tune", "art")
    thread.join()

    assert "done by the worker" in result.output


def requested_recipe(store: Store) -> dict[str, object]:
    return runs.recent(store.db)[0].recipe


@pytest.mark.usefixtures("taught")
def test_options_override_a_recipe_file(run: Run, store: Store, home: Path) -> None:
    (home / "mine.toml").write_text("rank = 8\nepochs = 5\n[sweep]\ndropout = [0.0, 0.1]\n")

    result = run(
        "tune", "art", "--recipe", "mine.toml", "--set", "rank=16", "--lr", "auto", "--no-wait"
    )

    assert result.exit_code == 0
    assert requested_recipe(store) == {
        "rank": 16, "epochs": 5, "learning_rate": "auto", "sweep": {"dropout": [0.0, 0.1]},
    }  # fmt: skip


@pytest.mark.usefixtures("taught")
def test_a_sweep_takes_several_axes(run: Run, store: Store) -> None:
    result = run(
        "tune", "art", "--no-wait", "--sweep", "rate=1e-4,2e-4", "rank=8,16", "--folds", "3"
    )

    assert result.exit_code == 0
    assert requested_recipe(store) == {
        "sweep": {"learning_rate": [1e-4, 2e-4], "rank": [8, 16]}, "folds": 3,
    }  # fmt: skip


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["rank=8,16"], "belongs to a sweep"),
        (["--sweep", "rank=8,big"], "rank takes a whole number"),
        (["--sweep", "rank=8", "--set", "rank=16"], "both set and swept"),
        (["--sweep", "seed=" + ",".join(str(i) for i in range(70))], "at most 64"),
        (["--lr", "fast"], "--lr takes a number or auto, not 'fast'."),
        (["--lr", ""], "--lr takes a number or auto, not ''."),
        (["--set", "rate=fast"], "learning_rate takes a number or auto, not 'fast'."),
        (["--set", "epoch=3"], "A recipe has no 'epoch'. Did you mean epochs?"),
        (["--recipe", "p.jsonl"], "cannot be read"),
    ],
)
def test_an_invalid_recipe_is_refused_immediately(
    run: Run, store: Store, options: list[str], words: str
) -> None:
    result = run("tune", "art", "--no-wait", *options)

    assert result.exit_code != 0
    assert words in result.output
    assert not runs.recent(store.db)


@pytest.mark.usefixtures("taught")
def test_a_dry_run_describes_the_run_and_does_nothing(run: Run, store: Store) -> None:
    result = run("tune", "art", "--dry-run", "--set", "epochs=2")

    assert "would start from the base model and train on 1 new approved pairs" in result.output
    assert "epochs 2" in result.output
    assert "Reason: A tiny base" in result.output
    assert runs.recent(store.db) == []


@pytest.mark.usefixtures("taught")
def test_a_dry_run_shows_the_values_that_were_set(run: Run) -> None:
    asked = ["--lr", "auto", "--set", "dropout=0", "--set", "packing=true", "--set", "targets=mlp"]
    recipe = run("tune", "art", "--dry-run", *asked).output.splitlines()[1]

    for words in ("learning rate auto", "dropout 0,", "packing true", "target modules mlp"):
        assert words in recipe
    assert "replay" not in recipe
    assert "max steps" not in recipe


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("option", [["--set"], ["--sweep"]])
def test_pairs_longer_than_the_engines_context_cause_a_warning(run: Run, option: list[str]) -> None:
    most = ServingSettings().max_model_len

    said = run("tune", "art", "--dry-run", *option, f"length={most + 1}").output
    silent = run("tune", "art", "--dry-run", *option, f"length={most}").output

    assert (
        f"Warning: max_length is {most + 1:,}, but the engine's context has {most:,} tokens" in said
    )
    assert "Warning" not in silent


@pytest.mark.usefixtures("taught")
def test_a_rejected_adapter_is_no_success(run: Run, store: Store) -> None:
    def rejected() -> None:
        with store.write() as db:
            claimed = runs.claim(db, "busy")
            assert claimed is not None
            made = registry.register(
                db, domains.get(db, "art"), version=1, sha256="a" * 64, path="adapters/art/1",
                base_model="pocket", rank=8, size_bytes=1, recipe={}, scores={},
                run_id=claimed.id, state="evaluating",
            )  # fmt: skip
            registry.settle_evaluation(db, made, "rejected", {}, "It is worse.")
            runs.finish(db, runs.get(db, claimed.id), made.id)

    with store.write() as db:  # somebody is at work, so that it is not done here
        runs.queue(db, domains.get(db, "other"), "cli:ann", kind="full")
        runs.claim(db, "busy")
    thread = soon(store, rejected)
    result = run("tune", "art")
    thread.join()

    assert result.exit_code == 1
    assert "art@1 was rejected: It is worse. To use it anyway" in result.output
    assert "To make it live" not in result.output


@pytest.mark.usefixtures("taught")
def test_a_dry_run_describes_a_search(run: Run) -> None:
    result = run("tune", "art", "--dry-run", "--sweep", "rate=1e-4,2e-4", "--folds", "2")

    assert (result.exit_code, "it would first train 4 times" in result.output) == (0, True)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize(
    "asked", [("--method", "kto"), ("--preferences",), ("--set", "method=kto")]
)
def test_a_method_is_chosen_by_name_by_its_older_flag_or_in_the_recipe(
    run: Run, store: Store, asked: tuple[str, ...]
) -> None:
    adapter = make_adapter(store, "art", 1)
    with store.write() as db:
        registry.promote(db, adapter, "ann")

    refused = run("tune", "art", *asked, "--no-wait")

    assert "Learning from ratings needs at least 4 of each" in refused.output
    assert "Choose one of them" in run("tune", "art", *asked, "--full", "--no-wait").output


@pytest.mark.usefixtures("taught")
def test_the_older_flag_and_another_method_are_refused(run: Run) -> None:
    refused = run("tune", "art", "--method", "sft", "--preferences", "--no-wait")

    assert "the recipe asks for sft. Choose one of them" in refused.output


@pytest.mark.usefixtures("taught")
def test_conflicting_answers_are_named_before_the_run(run: Run, store: Store) -> None:
    art = domains.get(store.db, "art")
    older = "One older answer is not learned, because newer pairs say otherwise."
    which = "“What is red?”: pair 2 says “A mood.”, pair 1 said “A colour.”."
    with store.write() as db:
        pairs.add(db, art, [Draft("what is  red?", "A mood.")], source="t", status="approved")

    planned, done = run("tune", "art", "--dry-run"), run("tune", "art")

    assert f"{older}\n{which}\n" in planned.output
    assert done.output.index(f"{older}\n{which}\n") < done.output.index("done here")
    found = json(run("tune", "art", "--dry-run", "--json"))
    assert isinstance(found, dict)
    assert (found["older_total"], found["older"][0]["newer_pair_id"]) == (1, 2)

    live = make_adapter(store, "art", 1)
    with store.write() as db:
        dataset = datasets.freeze(db, art)
        db.execute("UPDATE adapters SET dataset_id = ? WHERE id = ?", [dataset.id, live.id])
        registry.promote(db, live, "cli:ann")
        pairs.add(db, art, [Draft("What is blue?", "A mood.")], source="t", status="approved")
    told = run("tune", "art", "--dry-run").output
    assert "train on 1 new approved pairs" in told
    assert older not in told  # the adapter has learned the newer one


@pytest.mark.usefixtures("taught")
def test_a_dry_run_says_what_is_wrong_with_the_pairs(run: Run, store: Store) -> None:
    drafts = [Draft("Why so long?", "Because. " * 400), Draft("Is it?", "TODO")]
    with store.write() as db:
        pairs.add(db, domains.get(db, "art"), drafts, source="import", status="approved")

    said = run("tune", "art", "--dry-run", "--set", "max_length=256").output
    found = json(run("tune", "art", "--dry-run", "--json"))

    assert "Quality: too long for the base model: 1 pair." in said
    assert "Quality: placeholders: 1 pair." in said
    assert "`understudy pairs check art` names them." in said
    assert isinstance(found, dict)
    assert (found["domain"], found["quality"]["placeholders"]) == ("art", 1)


@pytest.mark.usefixtures("taught")
def test_a_request_and_its_run_say_which_method_was_chosen(run: Run) -> None:
    said = "The method sft was chosen: there are 1 new approved pairs to train on"
    assert said in run("tune", "art", "--method", "auto", "--no-wait").output
    assert said in " ".join(run("runs", "show", "1").output.split())
