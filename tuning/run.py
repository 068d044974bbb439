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

from data import adapters, datasets, domains, golden, run_report, runs
from data.config import Settings
from data.db import Store
from data.errors import Conflict, Unavailable, UnderstudyError
from data.runs import Run
from tuning import room

if TYPE_CHECKING:
    from tuning.train import Progress

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
        return carry_out(store, settings, options.run)


def carry_out(store: Store, settings: Settings, run_id: int) -> int:
    """Do the run and record how it ended; returns the exit code."""
    try:
        adapter = tune(store, settings, runs.get(store.db, run_id))
        log.info("run %d made %s", run_id, adapter.name)
        return DONE
    except (Terminated, KeyboardInterrupt):
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


def tune(store: Store, settings: Settings, run: Run) -> adapters.Adapter:
    """The run itself. Raises what goes wrong; the store is changed by `publish` alone, apart from
    progress and the dataset."""
    with store.write() as db:
        domain = domains.by_id(db, run.domain_id)
        runs.set_phase(db, run.id, "freezing the dataset")
        dataset = datasets.freeze(db, domain)
        runs.set_dataset(db, run.id, dataset.id)
    golden.refuse_leaks(store.db, dataset.id)
    parent = adapters.by_id(store.db, run.parent_id) if run.parent_id else None

    _phase(store, run, "loading the base model")
    from tuning import canary, checkpoint, exam, model, publish, train  # torch is loaded here
    from tuning.lesson import prepare
    from tuning.scores import Examiner, comparable, judged, scores

    tokenizer = model.load_tokenizer(settings.base.path)
    lesson = prepare(store.db, settings, run, domain, dataset, parent, tokenizer)
    log.info("recipe: %s %s", lesson.recipe.why, lesson.recipe.model_dump(exclude={"why"}))
    fitting = room.fitted(settings, lesson.recipe, run.recipe, new=parent is None)
    lesson = replace(lesson, recipe=fitting)
    base = model.load_base(settings.base.path, lesson.recipe)
    if parent is None:
        tuned = model.new_adapter(base, lesson.recipe)
    else:
        tuned = model.continued_adapter(base, parent.folder(settings.home))

    _phase(store, run, "training")
    decides = checkpoint.identity(
        dataset=dataset.sha256,
        system_prompt=domain.system_prompt,
        parent=run.parent_id,
        base=settings.base.model,
        recipe=lesson.recipe.model_dump(mode="json"),
    )
    outcome = train.train(
        base,
        tuned,
        lesson.epoch,
        lesson.measured,
        lesson.judged_by,
        lesson.recipe,
        _reporter(store, run),
        checkpoint.Checkpoints(settings.checkpoints_path(run.id), decides),
    )
    _phase(store, run, "publishing")
    live = comparable(settings, adapters.live(store.db, domain.id))
    questions = exam.prepare(
        store.db, domain, dataset, live, tokenizer, base.stops, lesson.recipe.max_length
    )
    canaries = canary.record(base, tuned, lesson)
    probes = canary.probes(base, tuned, questions, lesson)
    licence = model.licence(settings.base.path)
    lineage = publish.Lineage(run, domain, dataset, parent, lesson.recipe, licence)
    adapter = publish.publish(store, settings, tuned, lineage, canaries, probes)

    examiner = Examiner(
        store, settings, base, tuned, questions, live, lesson.recipe.micro_tokens,
        lambda phase: _phase(store, run, phase),
    )  # fmt: skip
    results = examiner.examine(adapter)
    verdict = judged(settings, questions, results)
    kept = scores(questions, results, verdict, outcome, lesson)
    log.info("scores: %s", {k: v for k, v in kept.items() if k != "samples"})
    rejected = verdict.reason if settings.gate.enforce else ""
    settled = publish.settle(store, settings, lineage, adapter, kept, rejected)
    with _best_effort():
        run_report.write(store.db, settings, run.id)
    return settled


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


def _reporter(store: Store, run: Run) -> "Callable[[Progress], None]":
    """Writes progress to the store about once a second; measured losses always."""
    written = 0.0

    def report(now: "Progress") -> None:
        nonlocal written
        last = now.step == now.total_steps
        if now.losses is None and not last and time.monotonic() - written < REPORT_S:
            return
        losses = now.losses or {}
        with _best_effort(), store.write() as db:
            runs.progress(
                db,
                run.id,
                step=now.step,
                total_steps=now.total_steps,
                loss=now.loss,
                validation_loss=losses.get("validation"),
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
