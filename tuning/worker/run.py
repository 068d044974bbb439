"""One tuning run from top to bottom: a sequence of stages, from a queue entry to a settled adapter.

Each stage is a function of the frozen results of those before it. Stages do not call the worker;
they report to one `ProgressReporter`. A run that was killed in any stage starts again from the top:
the frozen dataset, finished trials, the last checkpoint and a published adapter are found and used
again, so the adapter has the same bytes as one from an uninterrupted run.
"""

import logging

from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.runs import methods, report
from data.runs.phases import Phase
from data.runs.runs import Run
from data.search import domain_calibration
from data.search.search import PairSearch
from data.store.db import Store
from tuning.data.run_inputs import freeze_dataset
from tuning.model import licences
from tuning.progress import ProgressReporter, best_effort
from tuning.search import search
from tuning.threads import YieldingProgress

log = logging.getLogger(__name__)


def tune(store: Store, settings: Settings, run: Run, progress: ProgressReporter) -> Adapter:
    """Do the run; returns the adapter, which is a candidate or was rejected by the gate. Raises
    whatever goes wrong."""
    # Freeze the dataset and choose the recipe. Trials are child processes of their own, so this
    # process loads torch only when they have ended.
    inputs = freeze_dataset(store, run)
    licence = licences.check(settings, run.recipe)
    chosen = search.run_search(store, settings, inputs)
    from tuning.adapters import publish
    from tuning.data import frozen_references
    from tuning.evaluation import eval_report, eval_sets, examination, reference_outputs
    from tuning.evaluation.evaluator import Evaluator, comparable
    from tuning.model import chat_template
    from tuning.search import trial
    from tuning.training import job as training

    # Prepare the training set, load the model, train.
    progress = YieldingProgress(progress, store, settings)
    progress.phase(Phase.LOADING_MODEL)
    pair_search = PairSearch(store, settings.search)
    because = run.recipe.get(methods.WHY, "")
    job = training.TrainingJob(
        settings, chosen.inputs, found=chosen.found, search=pair_search,
        why=chosen.why + (f" {because}" if because else ""),
    )  # fmt: skip
    prepared = training.prepare_training(store.db, job)
    loaded = training.load_model(job, prepared)
    checkpoints = chosen.checkpoints or settings.checkpoints_path(run.id)
    trained = training.train_adapter(job, prepared, loaded, checkpoints, progress)
    if chosen.checkpoints is not None:
        trial.copy_curve(store, run, chosen.checkpoints, trained.outcome.steps)

    # Record reference outputs and publish the adapter, so that engines load it for its evaluation.
    progress.phase(Phase.PUBLISHING)
    base, model, recipe = loaded.base, loaded.model, trained.training_set.recipe
    live = comparable(settings, registry.live(store.db, inputs.domain.id))
    count = max(1, recipe.references, eval_sets.references_of(live))
    found = frozen_references.of_run(store.db, pair_search, settings, inputs, count)
    questions = eval_sets.prepare_eval_sets(
        store.db, inputs.domain, inputs.dataset, live, prepared.tokenizer, base.stops,
        recipe.max_length, inputs.parent, references=recipe.references,
        found=found,
    )  # fmt: skip
    maker = eval_sets.QuestionMaker(
        prepared.tokenizer, inputs.domain.system_prompt, base.stops, recipe.max_length, found
    )
    further = examination.prepare(
        store.db, settings, inputs.domain, inputs.dataset, live, maker, pair_search,
        references=recipe.references,
    )  # fmt: skip
    references = reference_outputs.record(base, model, trained.training_set)
    probes = reference_outputs.probes(base, model, questions, trained.training_set)
    lineage = publish.Lineage(
        run, inputs.domain, inputs.dataset, inputs.parent, recipe, licence,
        chat_template.template_of(prepared.tokenizer), prepared.base_digest,
    )  # fmt: skip
    adapter = publish.publish(store, settings, model, lineage, references, probes)

    # Evaluate it, apply the gate, and settle adapter and run together.
    evaluator = Evaluator(
        store, settings, base, model, questions, live, recipe.micro_tokens, progress, further
    )
    results = evaluator.evaluate(adapter)
    verdict = eval_report.gate_verdict(settings, questions, further, results, trained.judged)
    scores = eval_report.scores(
        questions, further, results, verdict, trained.outcome, trained.training_set, trained.scores
    )
    with best_effort():
        golden = eval_report.golden_right(questions, results) if recipe.references else None
        if fitted := domain_calibration.measure(store.db, inputs.domain, pair_search, golden):
            scores["calibration"] = fitted.calibration.plain()
    log.info("scores: %s", {key: value for key, value in scores.items() if key != "samples"})
    rejected = verdict.reason if settings.gate.enforce else ""
    settled = publish.settle(store, settings, lineage, adapter, scores, rejected)
    if "calibration" not in scores:
        with best_effort():
            domain_calibration.refit(store, inputs.domain, pair_search)
    with best_effort():
        report.write(store.db, settings, run.id)
    return settled
