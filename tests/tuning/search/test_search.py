"""Searches in child processes: trials that train, fail or are killed, and the best one is kept."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest

from data.adapters import registry
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft
from data.runs import report, runs, search_report, trials
from data.runs.runs import Run
from data.store.db import Store
from data.store.errors import Invalid
from tests.tuning.conftest import teach
from tuning.child_process import ExitCode
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import Fold, split_fold
from tuning.recipe import search_space
from tuning.search import search as tuning_trials
from tuning.search.search import _steps
from tuning.worker.child import execute_run

QUICK = {"max_steps": 6, "evaluations": 2, "rank": 8}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the trials' processes


def requested(store: Store, domain: Domain, **recipe: Any) -> Run:
    """A domain with something to validate on, and a run that asks for `recipe`."""
    teach(store, domain, 8)
    with store.write() as db:
        held = [Draft(f"Where is lid {i}?", f"Lid {i} is off.", split="validation") for i in (1, 2)]
        pairs.add(db, domain, held, source="test", status="approved")
        runs.request(db, domain, "ann", recipe={**QUICK, **recipe})
        run = runs.claim(db, "worker")
    assert run is not None
    return run


@pytest.mark.slow
def test_a_sweep_keeps_its_best_point_and_survives_failed_trials(
    store: Store, settings: Settings, domain: Domain
) -> None:
    run = requested(store, domain, sweep={"learning_rate": [1e-4, 1e-2], "rank": [8, 12]})
    with store.write() as db:  # behind the command's back, which would refuse it
        db.execute("UPDATE runs SET recipe = json_remove(recipe, '$.rank') WHERE id = ?", [run.id])
    run = runs.get(store.db, run.id)
    serving = settings.serving.model_copy(update={"max_lora_rank": 8})
    settings = settings.model_copy(update={"serving": serving})

    assert execute_run(store, settings, run) == ExitCode.DONE

    tried = trials.list_trials(store.db, run.id)
    assert [t.state for t in tried] == ["done", "failed", "done", "failed"]
    assert "rank is 12, but this deployment serves at most 8" in tried[1].error
    slow, fast = tried[0], tried[2]
    assert slow.loss is not None
    assert fast.loss is not None
    assert fast.loss < slow.loss
    (adapter,) = registry.list_adapters(store.db)
    assert adapter.recipe["learning_rate"] == 1e-2
    assert "learning_rate=0.01 rank=8 was the best of 4 trials" in adapter.recipe["why"]
    assert "Asked for: evaluations=2, max_steps=6. learning_rate" in adapter.recipe["why"]
    assert adapter.scores["steps"] == 6
    assert [p.step for p in runs.curve(store.db, run.id)] == [1, 2, 3, 4, 5, 6]
    drawing = (settings.runs_path / str(run.id) / search_report.FILE).read_text()
    assert drawing.count("<circle") == 2
    assert ">failed</text>" in drawing
    told = report.page(store.db, run.id)
    assert search_report.svg(tried) in told
    assert "learning_rate=0.0001 rank=12, learning_rate=0.01 rank=12: rank is 12" in told


@pytest.mark.slow
def test_the_winner_of_a_sweep_has_the_bytes_of_a_run_that_asks_for_it(
    store: Store, settings: Settings, domain: Domain
) -> None:
    run = requested(store, domain, sweep={"learning_rate": [1e-4, 1e-2]})
    assert execute_run(store, settings, run) == ExitCode.DONE
    with store.write() as db:
        runs.request(db, domain, "ann", full=True, recipe={**QUICK, "learning_rate": 1e-2})
        plain = runs.claim(db, "worker")
    assert plain is not None
    assert execute_run(store, settings, plain) == ExitCode.DONE

    second, first = registry.list_adapters(store.db)
    assert first.sha256 == second.sha256


@pytest.mark.slow
def test_a_cross_validation_reports_mean_and_spread_and_trains_on_all_pairs(
    store: Store, settings: Settings, domain: Domain
) -> None:
    run = requested(store, domain, folds=2)

    assert execute_run(store, settings, run) == ExitCode.DONE

    tried = trials.list_trials(store.db, run.id)
    assert [(t.fold, t.state) for t in tried] == [(0, "done"), (1, "done")]
    assert all(t.f1 is not None and 0 <= t.f1 <= 1 for t in tried)
    (point,) = trials.points(tried)
    assert point.loss_spread is not None
    (adapter,) = registry.list_adapters(store.db)
    assert f"Over 2 folds the held-out loss was {point.loss:.3f} ±" in adapter.recipe["why"]
    assert "Asked for: evaluations=2, rank=8. Over" in adapter.recipe["why"]
    assert adapter.dataset_id is not None
    dataset = datasets.by_id(store.db, adapter.dataset_id)
    assert (dataset.train, dataset.validation, dataset.probe) == (10, 0, 0)
    assert adapter.scores["steps"] == 12  # six were best on half of the pairs


@pytest.mark.slow
def test_a_killed_search_resumes_where_it_was(
    store: Store, settings: Settings, domain: Domain
) -> None:
    run = requested(store, domain, sweep={"learning_rate": [1e-3, 1e-2]}, max_steps=40)
    command = [
        sys.executable, "-m", "tuning.worker.child", "--config-json",
        settings.model_dump_json(exclude={"slack"}), "--run", str(run.id),
        "--worker", run.worker, "--attempt", str(run.attempts),
    ]  # fmt: skip
    child = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        while [t.state for t in trials.list_trials(store.db, run.id)] != ["done", "running"]:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    first = trials.list_trials(store.db, run.id)[0]

    assert execute_run(store, settings, run) == ExitCode.DONE

    done, second = trials.list_trials(store.db, run.id)
    assert done == first
    assert (second.state, second.attempts) == ("done", 2)


@pytest.mark.slow
def test_a_trial_whose_process_is_killed_twice_fails_and_the_search_continues(
    store: Store, settings: Settings, domain: Domain
) -> None:
    """As the kernel kills one that takes too much memory."""
    run = requested(store, domain, sweep={"rank": [8, 16]}, max_steps=10**6, epochs=1000)
    with store.write() as db:
        planned = [
            (t.number, t.changes, t.fold) for t in search_space.search_space_of(run.recipe).trials
        ]
        trials.plan(db, runs.get(db, run.id), planned)
        trials.begin(db, runs.get(db, run.id), 1)
        trials.begin(db, runs.get(db, run.id), 1)  # both times its process was lost
        db.execute("UPDATE runs SET recipe = json_set(recipe, '$.max_steps', 2)")

    assert execute_run(store, settings, run) == ExitCode.DONE

    lost, done = trials.list_trials(store.db, run.id)
    assert (lost.state, done.state) == ("failed", "done")
    assert "crashed 2 times" in lost.error
    assert registry.list_adapters(store.db)[0].rank == 16


def test_a_sweep_without_held_out_pairs_is_refused(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 4)
    with store.write() as db:
        runs.request(db, domain, "ann", recipe={**QUICK, "sweep": {"learning_rate": [1e-3]}})
        run = runs.claim(db, "worker")
    assert run is not None

    assert execute_run(store, settings, run) == ExitCode.FAILED

    assert "Use --folds" in runs.get(store.db, run.id).error


def test_a_search_on_rated_answers_is_refused(
    store: Store, settings: Settings, domain: Domain
) -> None:
    run = requested(store, domain, sweep={"learning_rate": [1e-3, 1e-2]})
    with store.write() as db:
        dataset = datasets.freeze(db, domain)

    with pytest.raises(Invalid, match="sweep cannot be used with the method kto"):
        tuning_trials.run_search(
            store, settings, RunInputs(replace(run, learns="preferences"), domain, dataset, None)
        )


def test_every_pair_is_held_out_in_one_fold_and_all_phrasings_of_a_fact_together(
    pair: Any,
) -> None:
    some = [pair(f"{i} {j}?", f"Answer {i}.", id=10 * i + j) for i in range(5) for j in range(3)]

    parts = [split_fold(some, Fold(number, 3)) for number in range(3)]

    held = [p.id for part in parts for p in part["validation"]]
    assert sorted(held) == sorted(p.id for p in some)
    for part in parts:
        assert not {p.fact for p in part["train"]} & {p.fact for p in part["validation"]}


def trial(number: int, changes: dict[str, Any], **more: Any) -> trials.Trial:
    given = {
        "fold": None, "state": "done", "attempts": 1, "total_steps": 9, "best_step": 6,
        "train_loss": 0.1, "loss": 1.0, "f1": None, "seconds": 1.0, "error": "",
    }  # fmt: skip
    return trials.Trial(run_id=1, number=number, changes=changes, **(given | more))  # type: ignore[arg-type]


def test_a_point_with_a_failed_fold_is_not_compared() -> None:
    tried = [
        trial(1, {"rank": 8}, fold=0, loss=2.0),
        trial(2, {"rank": 8}, fold=1, loss=4.0),
        trial(3, {"rank": 16}, fold=0, loss=0.5),
        trial(4, {"rank": 16}, fold=1, loss=None, state="failed", error="No <memory>."),
    ]

    best = trials.best(tried)

    assert best is not None
    assert (best.changes, best.loss) == ({"rank": 8}, 3.0)
    assert _steps(best, 2) == 12
    shown = search_report.text(tried)
    assert "* rank=8" in shown
    assert "3.000 ± 1.414" in shown
    assert "rank=16: No <memory>." in shown


def test_the_plot_gives_the_worst_point_the_longest_bar() -> None:
    tried = [trial(1, {"rank": 8}, loss=1.0), trial(2, {"rank": 16}, loss=2.0)]

    lines = search_report.text(tried).splitlines()

    assert [line.count("▇") for line in lines] == [0, 16, 32]
    assert lines[1].strip().startswith("* rank=8")


def test_input_is_escaped_in_the_drawing() -> None:
    drawing = search_report.page([trial(1, {"schedule": "<script>"})])

    assert "&lt;script&gt;" in drawing
    assert "<script>" not in drawing
