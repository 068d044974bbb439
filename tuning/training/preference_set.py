"""The training set of a run on rated answers: answers as token ids, with their prompts.

An answer is left out when the prompt that the engine got cannot be reconstructed (for example
because an API caller sent its own messages), when it is too long, or when it answers a golden
question, because golden questions only measure adapters.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlite_utils import Database

from data.adapters.registry import Adapter
from data.config import base_precision
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import datasets, preference_sets
from data.pairs.datasets import hash_share
from data.pairs.pairs import Pair, Turn, normalise
from data.pairs.preference_sets import RatedReply
from data.pairs.question_join import joined
from data.pairs.question_matching import Index
from data.runs import methods
from data.runs.phases import Phase
from data.runs.runs import Run
from data.search import layout
from data.search.search import PairSearch
from data.store.errors import Invalid
from tuning.data import frozen_references
from tuning.data.examples import Example, encode
from tuning.data.grounded_pairs import fitting
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import MEASURED_EXAMPLES, Fold, TrainingSet, choose_recipe
from tuning.model.base_model import Base, count_parameters
from tuning.model.chat_template import stop_ids
from tuning.recipe import search_space
from tuning.recipe.recipe import TINY_BASE, Recipe, asked_for, precision_reason
from tuning.training.kto import Kto
from tuning.training.method_setup import MethodSetup

log = logging.getLogger(__name__)

HELD_OUT = 0.2  # of the questions, if there are enough answers
ENOUGH = 40  # answers; with fewer, none is held out
# USUAL has the paper's learning rate for models from 7B on; TINY was measured with
# benchmarks/thumbs.py
USUAL: dict[str, Any] = {"learning_rate": 5e-6, "epochs": 1.0, "batch_size": 16, "max_steps": 0}
TINY: dict[str, Any] = USUAL | {"learning_rate": 2e-4, "epochs": 3.0}


@dataclass(frozen=True)
class PreferenceSet:
    """The training set, its objective, and the answers that were held out."""

    training_set: TrainingSet
    objective: Kto
    held_out: dict[Example, bool]  # liked or not
    left_out: int  # unusable answers

    def rewards(self, base: Base, model: Any, recipe: Recipe) -> dict[str, Any]:
        """How training changed the probability of trained and held-out answers, for the scores."""
        seen = {one: self.objective.liked[one] for one in self.training_set.epoch(0)}
        moved = {"trained": asdict(self.objective.reward(base, model, seen, recipe))}
        if self.held_out:
            moved["held_out"] = asdict(self.objective.reward(base, model, self.held_out, recipe))
        return moved | {"left_out": self.left_out}


def set_up_kto(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    *,
    fold: Fold | None = None,
    found: Mapping[str, Any] | None = None,
    search: PairSearch | None = None,
) -> MethodSetup:
    """KTO on rated answers. It has no trials: they compare losses on held-out pairs."""
    rated = prepare_preference_set(db, settings, inputs, tokenizer, search)
    return MethodSetup(
        rated.training_set,
        objective=rated.objective.learn,
        begin=rated.objective.prepare,
        begin_phase=Phase.SCORING_RATED_ANSWERS,
        scores=lambda base, model, recipe: {"thumbs": rated.rewards(base, model, recipe)},
    )


def prepare_preference_set(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    search: PairSearch | None = None,
) -> PreferenceSet:
    """Raises Invalid when too little is left to learn from, or when the run continues no adapter.
    The pairs of the dataset are only used to measure."""
    run, domain, dataset, parent = inputs.run, inputs.domain, inputs.dataset, inputs.parent
    if parent is None:
        raise Invalid("A run on rated answers continues an adapter, and this one has no parent.")
    given = preference_sets.of_run(db, run.id, settings.bot.history_turns)
    recipe = preference_recipe(settings, run, len(given), parent)
    stops = stop_ids(tokenizer)

    def encoded(pair: Pair) -> Example:
        return encode(
            pair,
            tokenizer,
            system_prompt=domain.system_prompt,
            stops=stops,
            max_length=recipe.max_length,
        )

    found = None
    if recipe.references and search is not None:
        found = frozen_references.of_run(db, search, settings, inputs, recipe.references)

    def measurable(pair: Pair) -> Example:
        """With references, where the adapter was trained with some."""
        if found is None:
            return encoded(pair)
        return fitting(pair, found.of(found.question(pair))[: found.count], encoded)[1]

    golden = datasets.pairs_of(db, dataset.id, "golden")
    golden_index: Index[int] = Index()
    for pair in golden:
        golden_index.add(pair.id, pair.prompt)
    usable = {}
    for rated in given:
        example = _example(rated, domain, encoded)
        if example is not None and golden_index.find(rated.question) is None:
            usable[example] = rated
    trained, held_out = _split(usable)
    if not trained or len(set(trained.values())) < 2:
        raise Invalid(
            f"{len(usable)} of {len(given)} rated answers are usable, and a run needs both liked "
            "and disliked ones. Answers whose prompt cannot be reconstructed and answers to golden "
            "questions are left out."
        )
    measured = {
        part: [
            measurable(pair) for pair in datasets.pairs_of(db, dataset.id, part)[:MEASURED_EXAMPLES]
        ]
        for part in ("validation", "probe")
    }
    order = list(trained)
    training_set = TrainingSet(
        recipe=recipe,
        epoch=lambda _: order,
        measured={part: some for part, some in measured.items() if some},
        selected_by=(),
        compared_by=(),
        held_out=(),
        new=len(trained),
        superseded=0,
        reworded=0,
    )
    objective = Kto({**trained, **held_out}, recipe.preference_beta, recipe.seed)
    return PreferenceSet(training_set, objective, held_out, len(given) - len(usable))


def preference_recipe(settings: Settings, run: Run, answers: int, parent: Adapter) -> Recipe:
    """The parent's shape, a small rate and few epochs, changed by the settings of the request."""
    tiny = count_parameters(settings.base.path) < TINY_BASE
    values = (TINY if tiny else USUAL) | {methods.KEY: run.method}
    asked = search_space.overrides(run.recipe)
    usual = choose_recipe(settings, replace(run, recipe=values), answers, parent)
    recipe = choose_recipe(settings, replace(run, recipe=values | asked), answers, parent)
    name = run.method.upper()
    why = f"{answers} rated answers: {name} from {parent.name}, with a small rate and few epochs."
    why += precision_reason(recipe, base_precision.quantization(settings))
    return recipe.model_copy(update={"why": why + asked_for(recipe, usual, asked)})


def _example(
    rated: RatedReply, domain: Domain, encoded: Callable[[Pair], Example]
) -> Example | None:
    """The answer as an example, or None when it is unusable."""
    if rated.layout not in (layout.NONE, layout.VERSION):
        log.info("reply %s is left out: its references had another layout", rated.reply_id)
        return None
    pair = Pair(
        id=rated.number,
        domain_id=domain.id,
        prompt=layout.with_references(rated.question, rated.references),
        response=rated.answer,
        system=rated.system or "",
        turns=tuple(Turn(turn.role, turn.text) for turn in rated.turns),
        fact="",
        split="train",
        source="thumb",
        source_ref=rated.reply_id,
        author="",
        status="approved",
        fingerprint="",
        created_at=0,
    )
    try:
        example = encoded(pair)
    except Invalid as error:
        log.info("reply %s is left out: %s", rated.reply_id, error)
        return None
    if rated.prompt_tokens not in (None, len(example.prompt)):
        log.info("reply %s is left out: the engine got another prompt", rated.reply_id)
        return None
    return example


def _split(usable: dict[Example, RatedReply]) -> tuple[dict[Example, bool], dict[Example, bool]]:
    """Trained and held-out answers, split by question: all answers to a question, also in nearly
    the same words, are on the same side."""
    parts: tuple[dict[Example, bool], dict[Example, bool]] = ({}, {})
    asked = [normalise(rated.question) for rated in usable.values()]
    numbers = joined(asked)
    name: dict[int, str] = {}
    for number, words in zip(numbers, asked, strict=True):
        name[number] = min(words, name.get(number, words))
    for number, (example, rated) in zip(numbers, usable.items(), strict=True):
        held_out = len(usable) >= ENOUGH and hash_share(name[number], "thumbs") < HELD_OUT
        parts[held_out][example] = rated.liked
    return parts
