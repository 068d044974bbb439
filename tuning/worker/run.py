"""One tuning run, from queue entry to registered adapter: the child process of the worker.

    python -m tuning.run --config-json '{"home": ...}' --run 7

Exit codes tell the worker what to do next: 0 the adapter is registered; 1 the run cannot succeed
and the store says why; 3 the run was stopped, or is no longer ours, and nothing was left behind.
Anything else is a crash, which the worker may try again. What people read is one sentence in
`runs.error`; the traceback goes to the log, which is this process's standard error.
"""

import argparse
import contextlib
import ctypes
import errno
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from data import domains
from data.adapters import registry
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import datasets, golden, preference_sets
from data.pairs.datasets import Dataset
from data.runs import report as runs_report
from data.runs import runs
from data.runs import trials as trial_store
from data.runs.runs import Run
from data.store.db import Store
from data.store.errors import Conflict, Invalid, Unavailable, UnderstudyError
from tuning.model import licences
from tuning.recipe import search_space
from tuning.search import search as search_search

if TYPE_CHECKING:
    from tuning.training.loop import Progress

log = logging.getLogger(__name__)

DONE, FAILED, STOPPED = 0, 1, 3
REPORT_S = 1.0  # between writes of progress
PR_SET_PDEATHSIG = 1


class Terminated(BaseException):
    """SIGTERM: leave at once, tidily."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tuning.run", description=__doc__)
    parser.add_argument("--config-json", required=True, help="the settings, without secrets")
    parser.add_argument("--run", type=int, required=True)
    parser.add_argument("--trial", type=int, default=0, help="do this trial of the run alone")
    parser.add_argument("--parent", type=int, default=0, help="leave when this process is gone")
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if options.parent:
        _die_with(options.parent)
    signal.signal(signal.SIGTERM, _terminate)
    settings = Settings.model_validate_json(options.config_json)
    with Store(settings.store_path) as store:
        if options.trial:
            return try_out(store, settings, options.run, options.trial)
        return execute_run(store, settings, options.run)


def execute_run(store: Store, settings: Settings, run_id: int) -> int:
    """Do the run and record how it ended; returns the exit code."""
    try:
        adapter = tune(store, settings, runs.get(store.db, run_id))
        log.info("run %d made %s", run_id, adapter.name)
        return DONE
    except (Terminated, search_search.Interrupted, KeyboardInterrupt):
        log.info("run %d was stopped", run_id)
        return STOPPED
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            return STOPPED
        log.exception("run %d failed: %s", run_id, sentence)
        with store.write() as db:
            runs.fail(db, run_id, sentence)
        return FAILED


def tune(store: Store, settings: Settings, run: Run) -> registry.Adapter:
    """The run itself. Raises what goes wrong; the store is changed by `publish` alone, apart from
    progress, the dataset and the trials."""
    domain, dataset, parent = _frozen(store, run)
    licence = licences.check(settings, run.recipe)
    found = search_search.run_search(store, settings, run, dataset)
    from tuning.adapters import publish
    from tuning.evaluation import eval_sets, reference_outputs
    from tuning.evaluation.eval_report import gate_verdict, scores
    from tuning.evaluation.evaluator import Evaluator, comparable
    from tuning.model import chat_template
    from tuning.search import trial  # torch is loaded here
    from tuning.training import job

    trained = job.run_training_job(
        job.TrainingJob(
            store, settings, found.run, domain, dataset, parent, found=found.found, why=found.why
        ),
        found.checkpoints or settings.checkpoints_path(run.id),
        lambda phase: _phase(store, run, phase),
        _reporter(store, run),
    )
    base, tuned, training_set = trained.base, trained.model, trained.training_set
    outcome, tokenizer = trained.outcome, trained.tokenizer
    if found.checkpoints is not None:
        trial.copy_curve(store, run.id, found.checkpoints, outcome.steps)
    _phase(store, run, "publishing")
    live = comparable(settings, registry.live(store.db, domain.id))
    questions = eval_sets.prepare_eval_sets(
        store.db,
        domain,
        dataset,
        live,
        tokenizer,
        base.stops,
        training_set.recipe.max_length,
        parent,
    )
    canaries = reference_outputs.record(base, tuned, training_set)
    probes = reference_outputs.probes(base, tuned, questions, training_set)
    lineage = publish.Lineage(
        run,
        domain,
        dataset,
        parent,
        training_set.recipe,
        licence,
        chat_template.template_of(tokenizer),
    )
    adapter = publish.publish(store, settings, tuned, lineage, canaries, probes)

    evaluator = Evaluator(
        store, settings, base, tuned, questions, live, training_set.recipe.micro_tokens,
        lambda phase: _phase(store, run, phase),
    )  # fmt: skip
    results = evaluator.examine(adapter)
    verdict = gate_verdict(settings, questions, results)
    kept = scores(questions, results, verdict, outcome, training_set)
    if trained.rewards is not None:
        kept["thumbs"] = trained.rewards
    log.info("scores: %s", {k: v for k, v in kept.items() if k != "samples"})
    rejected = verdict.reason if settings.gate.enforce else ""
    settled = publish.settle(store, settings, lineage, adapter, kept, rejected)
    with _best_effort():
        runs_report.write(store.db, settings, run.id)
    return settled


def try_out(store: Store, settings: Settings, run_id: int, number: int) -> int:
    """Do one trial of a run and record its figures; returns the exit code."""
    try:
        _try_out(store, settings, runs.get(store.db, run_id), number)
        return DONE
    except (Terminated, KeyboardInterrupt):
        return STOPPED
    except Exception as error:
        sentence = explain(error) or "The run is not ours any more."
        log.exception("trial %d of run %d failed: %s", number, run_id, sentence)
        with store.write() as db:
            trial_store.fail(db, run_id, number, sentence)
        return FAILED


def _try_out(store: Store, settings: Settings, run: Run, number: int) -> None:
    domain, dataset, parent = _frozen(store, run)
    asked = search_space.search_space_of(run.recipe)
    planned = trial_store.get(store.db, run.id, number)
    from tuning.data.training_set import Fold
    from tuning.search import trial
    from tuning.training.job import TrainingJob

    plain = replace(run, recipe=search_space.overrides(run.recipe))
    fold = None if planned.fold is None else Fold(planned.fold, asked.folds)
    trial.run_trial(
        TrainingJob(store, settings, plain, domain, dataset, parent, fold, planned.changes),
        number,
        search_search.folder(settings, run.id, number),
        lambda phase: _phase(store, run, f"trial {number} of {len(asked.trials)}: {phase}"),
        _reporter(store, run, curve=False),
    )  # fmt: skip


def _frozen(store: Store, run: Run) -> tuple[Domain, Dataset, registry.Adapter | None]:
    """What the run is about, with the pairs as they were when it began."""
    with store.write() as db:
        domain = domains.by_id(db, run.domain_id)
        parent = registry.by_id(db, run.parent_id) if run.parent_id else None
        runs.set_phase(db, run.id, "freezing the dataset")
        if run.dataset_id is not None and search_space.search_space_of(run.recipe):
            dataset = datasets.by_id(db, run.dataset_id)  # all trials compare on the same pairs
        elif run.learns == "preferences":
            preference_sets.freeze(db, run.id, domain)
            dataset = datasets.by_id(db, _learned_by(parent))  # it learns no pair beyond these
        else:
            dataset = datasets.freeze(
                db, domain, hold_out=not search_space.search_space_of(run.recipe).folds
            )
        runs.set_dataset(db, run.id, dataset.id)
    golden.refuse_leaks(store.db, dataset.id)
    return domain, dataset, parent


def _learned_by(parent: registry.Adapter | None) -> int:
    """The dataset that a run on thumbs goes on from. Raises Invalid where there is none."""
    if parent is None or parent.dataset_id is None:
        name = parent.name if parent else "The bare base"
        raise Invalid(f"{name} was not trained on pairs here; tune on pairs once, then on thumbs.")
    return parent.dataset_id


def explain(error: Exception) -> str | None:
    """The sentence for people; None when the run ended because it is not ours any more."""
    if type(error).__name__ == "RunLost" and isinstance(error, Conflict):
        return None
    if isinstance(error, UnderstudyError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Free some space and ask again; nothing was half done."
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text:
        return (
            "The machine ran out of memory while tuning. Ask again with a smaller micro_tokens "
            "or max_length, or use a smaller base model."
        )
    if "no space left" in text:  # safetensors says it in its own error
        return "The disk is full. Free some space and ask again; nothing was half done."
    return (
        f"Tuning failed unexpectedly ({type(error).__name__}: {_first_line(error)}). "
        "The run's log has the details."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0][:200]


def _phase(store: Store, run: Run, phase: str) -> None:
    log.info("run %d: %s", run.id, phase)
    with _best_effort(), store.write() as db:
        runs.set_phase(db, run.id, phase)


def _reporter(store: Store, run: Run, *, curve: bool = True) -> "Callable[[Progress], None]":
    """Writes progress to the store about once a second; measured losses always. Without `curve`
    only where the run is, not the points of its curve."""
    written = 0.0

    def report(now: "Progress") -> None:
        nonlocal written
        last = now.step == now.total_steps
        if now.losses is None and not last and time.monotonic() - written < REPORT_S:
            return
        losses = now.losses or {}
        write = runs.progress if curve else trial_store.progress
        with _best_effort(), store.write() as db:
            write(
                db,
                run.id,
                step=now.step,
                total_steps=now.total_steps,
                loss=now.loss,
                validation_loss=losses.get("validation"),
                probe_loss=losses.get("probe"),
                learning_rate=now.learning_rate,
                eta_s=now.eta_s,
            )
        log.info("step %d of %d: loss %.3f %s", now.step, now.total_steps, now.loss, dict(losses))
        written = time.monotonic()

    return report


@contextlib.contextmanager
def _best_effort() -> Iterator[None]:
    """News that cannot be written just now is no reason to lose the training."""
    try:
        yield
    except Unavailable as error:
        log.warning("progress was not recorded: %s", error)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its worker goes, however it goes."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before we asked
        raise SystemExit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
