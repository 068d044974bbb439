"""A run in its child process: from a queue entry to a registered adapter, or an error message."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from data.adapters import files, registry
from data.config.settings import GateSettings, SearchSettings, Settings
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.runs.phases import Phase, RunPhase
from data.runs.runs import Run
from data.search import layout
from data.store.db import Store, StoreBusy
from data.store.errors import Invalid
from tests.tuning.conftest import teach
from tuning.adapters import publish
from tuning.child_process import ExitCode
from tuning.progress import StepProgress, StoredProgress
from tuning.training import checkpoint, loop
from tuning.worker import worker
from tuning.worker.child import Terminated, execute_run, explain

QUICK = {"max_steps": 3, "evaluations": 2, "rank": 8}


def requested(store: Store, domain: Domain, **recipe: object) -> Run:
    with store.write() as db:
        runs.request(db, domain, "ann", recipe={**QUICK, **recipe})
        run = runs.claim(db, "worker")
    assert run is not None
    return run


def add(store: Store, domain: Domain, *drafts: Draft) -> None:
    with store.write() as db:
        pairs.add(db, domain, list(drafts), source="test", status="approved")


def test_a_run_makes_an_adapter_with_its_lineage_and_scores(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 8)
    add(store, domain, Draft("And box 5?", "Box 5 opens with 84.", split="golden"))
    run = requested(store, domain)

    assert execute_run(store, settings, run) == ExitCode.DONE

    (adapter,) = registry.list_adapters(store.db)
    done = runs.get(store.db, run.id)
    assert (done.state, done.adapter_id) == ("done", adapter.id)
    assert (done.step, done.total_steps, done.error) == (3, 3, "")
    assert done.loss is not None
    assert (adapter.run_id, adapter.dataset_id, adapter.parent_id) == (
        run.id,
        done.dataset_id,
        None,
    )
    assert adapter.recipe["rank"] == 8
    assert set(adapter.scores["golden"]) == {
        "n", "of", "right", "wrong", "needless", "exact", "f1", "base_exact", "base_f1",
        "search_exact", "search_f1",
    }  # fmt: skip
    assert adapter.scores["steps"] == 3
    shown = adapter.scores["samples"][0]
    assert (shown["question"], shown["expected"]) == ("And box 5?", "Box 5 opens with 84.")
    assert [p.step for p in runs.curve(store.db, run.id)][-1] == 3
    files.check(
        adapter.folder(settings.home),
        base=settings.base.path,
        base_model=settings.base.model,
        max_rank=64,
        sha256=adapter.sha256,
    )


def test_held_out_losses_are_measured_during_training(
    store: Store, settings: Settings, domain: Domain
) -> None:
    """Facts, and phrasings of facts that are trained."""
    for fact in "abcdefghijklmnop":
        said = [Draft(f"{fact} {i}?", f"It is {fact}.", fact=fact) for i in range(5)]
        add(store, domain, *said)
    add(store, domain, Draft("Where is the lid?", "Off.", split="validation"))
    run = requested(store, domain)

    assert execute_run(store, settings, run) == ExitCode.DONE

    measured = [p for p in runs.curve(store.db, run.id) if p.probe_loss is not None]
    assert [p.step for p in measured] == [2, 3]
    assert all(p.validation_loss is not None for p in measured)
    assert registry.list_adapters(store.db)[0].scores["chosen_by"] == "probe"


def test_the_same_run_makes_the_same_bytes(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 8)
    for _ in range(2):
        run = requested(store, domain)
        assert execute_run(store, settings, run) == ExitCode.DONE

    second, first = registry.list_adapters(store.db)
    assert first.sha256 == second.sha256
    assert first.path != second.path


def test_an_incremental_run_continues_its_parent_and_is_compared_with_it(
    store: Store, settings: Settings, domain: Domain
) -> None:
    # a random base that was trained for three steps answers no text
    settings = settings.model_copy(update={"gate": GateSettings(enforce=False)})
    teach(store, domain, 8)
    add(store, domain, Draft("And box 5?", "Box 5 opens with 84.", split="golden"))
    first = requested(store, domain)
    assert execute_run(store, settings, first) == ExitCode.DONE
    with store.write() as db:
        registry.promote(db, registry.list_adapters(db)[0], "ann")
    add(store, domain, Draft("What is new?", "The paint."))
    second = requested(store, domain, rank=8)

    assert execute_run(store, settings, second) == ExitCode.DONE

    child, parent = registry.list_adapters(store.db)
    assert (second.kind, child.parent_id, child.version) == ("incremental", parent.id, 2)
    assert child.scores["pairs_new"] == 1
    assert {"live_exact", "live_f1"} <= set(child.scores["golden"])
    assert child.scores["golden"]["live_f1"] == parent.scores["golden"]["f1"]
    assert "helpdesk@1" in (child.folder(settings.home) / "README.md").read_text()


def test_a_pair_that_cannot_be_trained_fails_the_run_by_its_number(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 2)
    add(store, domain, Draft("a " * 600, "too long"))
    run = requested(store, domain)

    assert execute_run(store, settings, run) == ExitCode.FAILED

    ended = runs.get(store.db, run.id)
    assert ended.state == "failed"
    assert "pair 3: it has" in ended.error
    assert registry.list_adapters(store.db) == []


def test_a_run_that_diverged_is_rejected_also_with_nothing_held_out(
    store: Store, settings: Settings, domain: Domain
) -> None:
    """No engine runs, and there is no golden question: only the training pairs are measured."""
    teach(store, domain, 8)
    run = requested(store, domain, learning_rate=1.0, max_steps=8)

    assert execute_run(store, settings, run) == ExitCode.DONE

    (adapter,) = registry.list_adapters(store.db)
    rules = {rule["name"]: rule["passed"] for rule in adapter.scores["gate"]["rules"]}
    assert adapter.state == "rejected"
    assert (rules["validation"], rules["golden"], rules["parity"]) == (None, None, None)
    assert False in (rules["training"], rules["readable"])
    assert "learning_rate" in adapter.state_reason


def test_a_recipe_that_makes_no_sense_fails_the_run_by_its_key(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 2)
    run = requested(store, domain, speed=3)

    assert execute_run(store, settings, run) == ExitCode.FAILED
    assert "A recipe has no 'speed'" in runs.get(store.db, run.id).error


def caused(error: Exception, cause: Exception) -> Exception:
    """An error with a cause: of a library that did not fit into memory, a symbol is missing."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full."),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "The disk is full."),
        (MemoryError(), "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "ran out of memory"),
        (RuntimeError("CUDA out of memory. Tried"), "ran out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "ran out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), "ran out of memory"),
        (caused(AttributeError("'_C' has no attribute 'x'"), MemoryError()), "ran out of memory"),
        (caused(AttributeError("no attribute 'x'"), ValueError("y")), "failed unexpectedly"),
        (Invalid("Say it so."), "Say it so."),
        (KeyError("x"), "failed unexpectedly (KeyError: 'x')"),
    ],
)
def test_errors_become_one_sentence(error: Exception, words: str) -> None:
    sentence = explain(error)

    assert words in sentence
    assert "\n" not in sentence


def test_a_run_that_another_worker_has_taken_over_is_not_failed(
    store: Store, settings: Settings, domain: Domain
) -> None:
    """Where the adapter would be registered, it turns out that the run belongs to another."""
    teach(store, domain, 2)
    run = requested(store, domain)

    class TakenOver(StoredProgress):
        def phase(self, phase: Phase, detail: str = "") -> None:
            super().phase(phase, detail)
            if phase is Phase.PUBLISHING:
                with store.write() as db:
                    db.execute("UPDATE runs SET worker = 'another', attempts = attempts + 1")

    code = execute_run(store, settings, run, TakenOver(store, run))

    assert code == ExitCode.STOPPED
    assert (runs.get(store.db, run.id).state, runs.get(store.db, run.id).error) == ("running", "")
    assert registry.list_adapters(store.db) == []


def test_a_full_disk_in_the_middle_leaves_a_reason_and_nothing_else(
    store: Store, settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(store, domain, 2)
    run = requested(store, domain)
    monkeypatch.setattr(
        "tuning.adapters.publish.save_file", lambda *_, **__: os.write(full(), b"x" * 4096)
    )

    assert execute_run(store, settings, run) == ExitCode.FAILED

    assert runs.get(store.db, run.id).error.startswith("The disk is full.")
    assert list((settings.adapters_path / "helpdesk").iterdir()) == []
    assert registry.list_adapters(store.db) == []


def full() -> int:
    """The kernel's own full disk."""
    return os.open("/dev/full", os.O_WRONLY)


def test_a_stop_in_the_middle_leaves_the_run_to_its_worker(
    store: Store, settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(store, domain, 2)
    run = requested(store, domain)

    def stopped(*_: object, **__: object) -> None:
        raise Terminated

    monkeypatch.setattr(loop, "train", stopped)

    assert execute_run(store, settings, run) == ExitCode.STOPPED
    assert runs.get(store.db, run.id).state == "running"


@pytest.mark.slow
def test_worker_and_child_together_make_an_adapter(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 8)
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe=QUICK)

    assert worker.run(settings, once=True) == 0

    assert runs.get(store.db, run.id).state == "done"
    assert registry.get(store.db, "helpdesk@1").folder(settings.home).is_dir()
    assert (settings.runs_path / str(run.id) / "run.log").read_text().count("publishing") == 1


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_takes_its_child_along_and_loses_nothing(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 8)
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe=QUICK | {"max_steps": 5000, "epochs": 1000})
    program = (
        "import sys\n"
        "from data.config.settings import Settings\n"
        "from tuning.worker import worker\n"
        "worker.run(Settings.model_validate_json(sys.argv[1]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, settings.model_dump_json()], cwd=Path(__file__).parents[3]
    )
    until(lambda: runs.get(store.db, run.id).step > 0, 120)
    (child,) = children(process.pid)

    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not Path(f"/proc/{child}").exists(), 30)

    assert runs.get(store.db, run.id).state == "running"
    assert registry.list_adapters(store.db) == []
    with store.write() as db:
        db.execute("UPDATE runs SET heartbeat_at = heartbeat_at - 61000000")
        db.execute("UPDATE runs SET recipe = json_set(recipe, '$.max_steps', 2)")
    assert worker.run(settings, once=True) == 0
    assert runs.get(store.db, run.id).state == "done"


@pytest.mark.slow
def test_a_child_killed_in_the_middle_is_tried_again(
    store: Store, settings: Settings, domain: Domain
) -> None:
    import threading

    teach(store, domain, 8)
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe=QUICK | {"max_steps": 400, "epochs": 1000})
    working = threading.Thread(target=worker.run, args=(settings,), kwargs={"once": True})
    working.start()
    until(lambda: runs.get(store.db, run.id).step > 0, 120)

    (child,) = children(os.getpid(), "tuning.worker.child")
    os.kill(child, signal.SIGKILL)
    working.join(120)

    ended = runs.get(store.db, run.id)
    assert (ended.state, ended.attempts) == ("done", 2)


def until(true: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def children(parent: int, words: str = "") -> list[int]:
    """The processes that `parent` has started, with `words` in their command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            command = (folder / "cmdline").read_text()
        except OSError:
            continue
        if int(stat[1]) == parent and words in command:
            found.append(int(folder.name))
    return found


def test_a_dataset_is_frozen_once_for_a_run_that_is_tried_twice(
    store: Store, settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(store, domain, 2)
    run = requested(store, domain)

    def stopped(*_: object, **__: object) -> None:
        raise Terminated

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train", stopped)
        execute_run(store, settings, run)
    assert execute_run(store, settings, run) == ExitCode.DONE

    assert datasets.by_id(store.db, 1).train == 2
    assert store.db["datasets"].count == 1


def test_a_run_stopped_in_training_resumes_to_the_same_bytes(
    store: Store, settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(store, domain, 8)
    whole = requested(store, domain, dropout=0.2)
    assert execute_run(store, settings, whole) == ExitCode.DONE
    monkeypatch.setattr(checkpoint, "Checkpoints", partial(checkpoint.Checkpoints, every_s=0.0))
    again = requested(store, domain, dropout=0.2)

    class StopsAtTwo(StoredProgress):
        def step(self, now: StepProgress) -> None:
            if now.step == 2:
                raise Terminated
            super().step(now)

    stopped = execute_run(store, settings, again, StopsAtTwo(store, again))
    assert stopped == ExitCode.STOPPED
    (left,) = settings.checkpoints_path(again.id).iterdir()
    assert left.name == checkpoint.FILE
    assert execute_run(store, settings, again) == ExitCode.DONE

    assert runs.get(store.db, again.id).step == 3
    one, two = registry.list_adapters(store.db)
    assert one.sha256 == two.sha256


def test_a_run_with_references_resumes_to_the_same_bytes_whatever_was_approved_since(
    store: Store, settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the adapter, its folder and its evaluation say how it reads."""
    settings = settings.model_copy(update={"search": SearchSettings(encoder="words")})
    teach(store, domain, 8)
    add(store, domain, Draft("Please open box 5", "Box 5 opens with 84.", split="golden"))
    reads = {"references": 2, "dropout": 0.2}
    whole = requested(store, domain, **reads)
    assert execute_run(store, settings, whole) == ExitCode.DONE
    monkeypatch.setattr(checkpoint, "Checkpoints", partial(checkpoint.Checkpoints, every_s=0.0))
    again = requested(store, domain, **reads)

    class StopsAtTwo(StoredProgress):
        def step(self, now: StepProgress) -> None:
            if now.step == 2:
                teach(store, domain, 4, start=50)
                raise Terminated
            super().step(now)

    stopped = execute_run(store, settings, again, StopsAtTwo(store, again))
    assert stopped == ExitCode.STOPPED
    with store.write() as db:  # the run keeps its dataset
        db.execute("UPDATE pairs SET status = 'rejected' WHERE prompt LIKE '%box 5_?'")
    assert execute_run(store, settings, again) == ExitCode.DONE

    one, two = registry.list_adapters(store.db)
    assert one.sha256 == two.sha256
    assert layout.references_of(one.recipe) == 2
    kept = json.loads((one.folder(settings.home) / publish.RECIPE).read_bytes())
    assert layout.of_recipe(kept) == layout.VERSION
    assert "Q: " not in json.dumps(one.scores["samples"])  # people read the questions alone


def test_a_run_stopped_in_every_stage_ends_with_the_bytes_of_an_uninterrupted_one(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 8)
    add(store, domain, Draft("And box 5?", "Box 5 opens with 84.", split="golden"))
    phases: list[RunPhase] = []

    class Remembers(StoredProgress):
        def phase(self, phase: Phase, detail: str = "") -> None:
            phases.append(RunPhase(phase, detail))
            super().phase(phase, detail)

    whole = requested(store, domain, dropout=0.2)
    assert execute_run(store, settings, whole, Remembers(store, whole)) == ExitCode.DONE
    again = requested(store, domain, dropout=0.2)

    class StopsAt(StoredProgress):
        stage: RunPhase

        def phase(self, phase: Phase, detail: str = "") -> None:
            super().phase(phase, detail)
            if RunPhase(phase, detail) == self.stage:
                raise Terminated

    for stage in phases:
        reporter = StopsAt(store, again)
        reporter.stage = stage
        assert execute_run(store, settings, again, reporter) == ExitCode.STOPPED
        assert runs.get(store.db, again.id).phase == stage.text

    assert execute_run(store, settings, again) == ExitCode.DONE
    stages = {stage.phase for stage in phases}
    assert stages == {Phase.LOADING_MODEL, Phase.TRAINING, Phase.PUBLISHING, Phase.EVALUATING}
    one, two = registry.list_adapters(store.db)
    assert (one.sha256, one.scores["golden"]) == (two.sha256, two.scores["golden"])


def test_progress_that_cannot_be_written_does_not_cost_the_training(
    store: Store, settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(store, domain, 2)
    run = requested(store, domain)

    def busy(*_: object, **__: object) -> None:
        raise StoreBusy("The store is busy.")

    monkeypatch.setattr(runs, "progress", busy)
    monkeypatch.setattr(
        runs, "set_phase", lambda db, number, phase: phase.phase is Phase.TRAINING and busy()
    )

    assert execute_run(store, settings, run) == ExitCode.DONE
