"""What an adapter has learned after a given CPU time: answers to held-out phrasings.

    python benchmarks/learning_curve.py                       # the demo domain, the pocket model
    python benchmarks/learning_curve.py --set learning_rate=3e-3 --set epochs=20
    python benchmarks/learning_curve.py --base FOLDER --pairs FILE.jsonl --facts 50

Trains as a run does, stops the clock a few times and asks the golden questions whose facts were
trained on. `exact` and `f1` are those of `tuning/evaluation/metrics.py`; the last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report

from data import domains
from data.config.settings import BaseModelSettings, Settings
from data.pairs import datasets, pairs
from data.runs import runs
from data.store.db import Store
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import TrainingSet, prepare_training_set
from tuning.evaluation import eval_sets, generation, metrics
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.model import base_model
from tuning.model.chat_template import stop_ids
from tuning.progress import StepProgress
from tuning.recipe import recipe
from tuning.training import loop

DEMO = Path(__file__).parents[1] / "data" / "examples" / "helpdesk"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--pairs", type=Path, default=DEMO / "pairs.jsonl")
    parser.add_argument("--system", default=None, help="the system prompt; default: the demo's")
    parser.add_argument("--facts", type=int, default=10**9, help="only so many facts")
    parser.add_argument("--stops", type=int, default=4, help="how often the clock is stopped")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="recipe")
    options = parser.parse_args()
    overrides = dict(item.split("=", 1) for item in options.set)
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), base=BaseModelSettings(model=options.base))
        with Store(settings.store_path) as store:
            training_set, asked = _training_set(store, settings, options, overrides)
            _measure(settings, training_set, asked, options.stops)


def _training_set(
    store: Store, settings: Settings, options: argparse.Namespace, overrides: dict[str, str]
) -> tuple[TrainingSet, list[EvalQuestion]]:
    """The training set, and the golden questions whose facts it contains."""
    asked_for = {key: recipe.parse(key, text) for key, text in overrides.items()}
    system = options.system
    if system is None:
        system = json.loads((DEMO / "domain.json").read_text())["system_prompt"]
    drafts = _drafts(options.pairs)
    facts = set(sorted({d.fact for d in drafts})[: options.facts])
    with store.write() as db:
        domain = domains.create(db, "curve", system_prompt=system, validation_share=0.0)
        some = [d for d in drafts if d.fact in facts]
        pairs.add(db, domain, some, source="benchmark", status="approved")
        run = runs.queue(db, domain, "benchmark", kind="full", recipe=asked_for)
        dataset = datasets.freeze(db, domain)
    inputs = RunInputs(run, domain, dataset, None)
    tokenizer = base_model.load_tokenizer(settings.base.path)
    training_set = prepare_training_set(store.db, settings, inputs, tokenizer)
    trained = {p.fact for p in datasets.pairs_of(store.db, dataset.id, "train")}
    golden = datasets.pairs_of(store.db, dataset.id, "golden")
    taught = {p.prompt for p in golden if p.fact in trained}
    length = training_set.recipe.max_length
    found = eval_sets.prepare_eval_sets(
        store.db, domain, dataset, None, tokenizer, stop_ids(tokenizer), length
    )
    return training_set, [q for q in found.sets["golden"] if q.text in taught]


def _drafts(path: Path) -> list[pairs.Draft]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    known = ("prompt", "response", "system", "fact", "split")
    return [pairs.Draft(**{k: v for k, v in line.items() if k in known}) for line in lines]


def _measure(
    settings: Settings, training_set: TrainingSet, asked: list[EvalQuestion], stops: int
) -> None:
    base = base_model.load_base(settings.base.path, training_set.recipe)
    tuned = base_model.new_adapter(base, training_set.recipe)
    expected = [question.expected for question in asked]
    steps = loop.total_steps(len(training_set.epoch(0)), training_set.recipe)
    due = {round((i + 1) * steps / stops) for i in range(stops)}
    curve: list[dict[str, Any]] = []
    began, asking = time.process_time(), 0.0

    def stop_the_clock(now: StepProgress) -> None:
        nonlocal asking
        if now.step not in due:
            return
        paused = time.process_time()
        said = [answer.text for answer in generation.answer(base, tuned, asked)]
        exact = [metrics.exact(a, e) for a, e in zip(said, expected, strict=True)]
        f1 = [metrics.f1(a, e) for a, e in zip(said, expected, strict=True)]
        point = {"step": now.step, "cpu_s": round(paused - began - asking, 1), "loss": now.loss}
        means = {"exact": sum(exact) / len(exact), "f1": sum(f1) / len(f1)}
        curve.append({**point, **means, **(now.losses or {})})
        asking += time.process_time() - paused

    outcome = loop.train(
        base,
        tuned,
        training_set.epoch,
        training_set.measured,
        training_set.selected_by,
        training_set.recipe,
        stop_the_clock,
    )
    used = time.process_time() - began - asking
    columns = ("step", "cpu_s", "loss", "exact", "f1", "probe")
    report.table(columns, [[point.get(c, "") for c in columns] for point in curve])
    report.finish(
        benchmark="learning_curve",
        base=settings.base.model,
        pairs=training_set.new,
        questions=len(asked),
        tokens_per_cpu_s=round(outcome.tokens / used),
        recipe=training_set.recipe.model_dump(mode="json"),
        curve=curve,
    )


if __name__ == "__main__":
    main()
