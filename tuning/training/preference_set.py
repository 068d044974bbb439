"""What a run learns from thumbs: answers as token ids, as they were asked for and given.

An answer is left out when its question cannot be put together again as the engine got it (an
API caller sent turns of its own, say), when it is too long, or when it answers a golden question:
adapters are measured on those and never trained on them.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlite_utils import Database

from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import datasets, preference_sets
from data.pairs.datasets import hash_share
from data.pairs.pairs import Pair, Turn, normal
from data.pairs.preference_sets import RatedReply
from data.pairs.question_matching import Index
from data.runs import methods
from data.runs.phases import Phase
from data.runs.runs import Run
from data.store.errors import Invalid
from tuning.data.examples import Example, encode
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import WATCHED, Fold, TrainingSet, choose_recipe
from tuning.model.base_model import Base, count_parameters
from tuning.model.chat_template import stop_ids
from tuning.recipe import search_space
from tuning.recipe.recipe import TINY_BASE, Recipe, asked_for
from tuning.training.kto import Kto
from tuning.training.method_setup import MethodSetup

log = logging.getLogger(__name__)

HELD_OUT = 0.2  # of the questions, where there are enough of them
ENOUGH = 40  # answers; with fewer all are trained on
# the paper's rate for 7B and up; that of a base of a few million parameters was measured with
# benchmarks/thumbs.py
USUAL: dict[str, Any] = {"learning_rate": 5e-6, "epochs": 1.0, "batch_size": 16, "max_steps": 0}
TINY: dict[str, Any] = USUAL | {"learning_rate": 2e-4, "epochs": 3.0}


@dataclass(frozen=True)
class PreferenceSet:
    """What a run learns, and how it is told whether it did."""

    training_set: TrainingSet
    objective: Kto
    held_out: dict[Example, bool]  # liked or not
    left_out: int  # answers that could not be used

    def rewards(self, base: Base, model: Any, recipe: Recipe) -> dict[str, Any]:
        """How the answers moved that were trained on, and those that were not, for the scores."""
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
) -> MethodSetup:
    """KTO on rated answers. It has no trials: they compare losses on held-out pairs."""
    rated = prepare_preference_set(db, settings, inputs, tokenizer)
    return MethodSetup(
        rated.training_set,
        objective=rated.objective.learn,
        begin=rated.objective.prepare,
        begin_phase=Phase.SCORING_RATED_ANSWERS,
        scores=lambda base, model, recipe: {"thumbs": rated.rewards(base, model, recipe)},
    )


def prepare_preference_set(
    db: Database, settings: Settings, inputs: RunInputs, tokenizer: Any
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

    golden = datasets.pairs_of(db, dataset.id, "golden")
    never: Index[int] = Index()
    for pair in golden:
        never.add(pair.id, pair.prompt)
    usable = {}
    for judged in given:
        example = _as_asked(judged, domain, encoded)
        if example is not None and never.find(judged.question) is None:
            usable[example] = judged
    trained, held_out = _parted(usable)
    if not trained or len(set(trained.values())) < 2:
        raise Invalid(
            f"Of {len(given)} rated answers {len(usable)} can be learned from, and it takes some "
            "that people liked and some that they did not. Answers whose question cannot be put "
            "together again are left out, and so are answers to golden questions."
        )
    measured = {
        part: [encoded(pair) for pair in datasets.pairs_of(db, dataset.id, part)[:WATCHED]]
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
    """The parent's shape, a small rate and few passes, changed by what people asked for."""
    tiny = count_parameters(settings.base.path) < TINY_BASE
    values = (TINY if tiny else USUAL) | {methods.KEY: run.method}
    asked = search_space.overrides(run.recipe)
    usual = choose_recipe(settings, replace(run, recipe=values), answers, parent)
    recipe = choose_recipe(settings, replace(run, recipe=values | asked), answers, parent)
    name = run.method.upper()
    why = f"{answers} rated answers: {name} from {parent.name}, with a small rate and few passes."
    return recipe.model_copy(update={"why": why + asked_for(recipe, usual, asked)})


def _as_asked(
    judged: RatedReply, domain: Domain, encoded: Callable[[Pair], Example]
) -> Example | None:
    """The answer as an example, or None when it cannot be used."""
    pair = Pair(
        id=judged.number,
        domain_id=domain.id,
        prompt=judged.question,
        response=judged.answer,
        system=judged.system or "",
        turns=tuple(Turn(turn.role, turn.text) for turn in judged.turns),
        fact="",
        split="train",
        source="thumb",
        source_ref=judged.reply_id,
        author="",
        status="approved",
        fingerprint="",
        created_at=0,
    )
    try:
        example = encoded(pair)
    except Invalid as error:
        log.info("reply %s is left out: %s", judged.reply_id, error)
        return None
    if len(example.prompt) != judged.prompt_tokens:
        log.info("reply %s is left out: it was asked for with other words", judged.reply_id)
        return None
    return example


def _parted(usable: dict[Example, RatedReply]) -> tuple[dict[Example, bool], dict[Example, bool]]:
    """What is trained on and what is held out, by question: one that was asked twice is on one
    side with all its answers."""
    parts: tuple[dict[Example, bool], dict[Example, bool]] = ({}, {})
    for example, judged in usable.items():
        aside = len(usable) >= ENOUGH and hash_share(normal(judged.question), "thumbs") < HELD_OUT
        parts[aside][example] = judged.liked
    return parts
