"""The training set of a run on rated answers: answers as token ids, with their prompts.

An answer is left out when the prompt that the engine got cannot be reconstructed (for example
because an API caller sent its own messages), when it is too long, or when it answers a golden
question, because golden questions only measure adapters.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlite_utils import Database

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
from tuning.training.method_setup import JudgedMargin, MethodSetup

log = logging.getLogger(__name__)

HELD_OUT = 0.2  # of the questions, if there are enough answers
ENOUGH = 40  # answers; with fewer, none is held out
MEASURED: tuple[datasets.Part, ...] = ("validation", "probe")
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
    judges: Mapping[Example, tuple[str, ...]]  # who rated so

    def judged(self, base: Base, model: Any, recipe: Recipe) -> list[JudgedMargin]:
        """How far training followed each rating."""
        every = dict(self.objective.liked)
        margins = self.objective.margins(base, model, every, recipe)
        return [
            JudgedMargin(margin, self.judges[one], one in self.held_out)
            for one, margin in zip(every, margins, strict=True)
        ]

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
    after: TrainingSet | None = None,
) -> MethodSetup:
    """KTO on rated answers. It has no trials: they compare losses on held-out pairs. `after`: the
    training set of the stage before it."""
    rated = prepare_preference_set(db, settings, inputs, tokenizer, search, after)
    return MethodSetup(
        rated.training_set,
        objective=rated.objective.learn,
        begin=rated.objective.prepare,
        begin_phase=Phase.SCORING_RATED_ANSWERS,
        scores=lambda base, model, recipe: {"thumbs": rated.rewards(base, model, recipe)},
        judged=rated.judged,
    )


def prepare_preference_set(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    search: PairSearch | None = None,
    after: TrainingSet | None = None,
) -> PreferenceSet:
    """Raises Invalid when too little is left to learn from, or when the run continues no adapter.
    The pairs of the dataset are only used to measure. `after`: the training set of the stage before
    this one."""
    run = inputs.run
    given = preference_sets.of_run(db, run.id, settings.bot.history_turns)
    recipe = preference_recipe(settings, inputs, f"{len(given)} rated answers", len(given), after)
    encoder = AnswerEncoder(db, settings, inputs, tokenizer, recipe)
    usable = {}
    for rated in given:
        example = encoder.example(rated)
        if example is not None:
            usable[example] = rated
    trained, held_out = _split(usable)
    if not trained or len(set(trained.values())) < 2:
        raise Invalid(
            f"{len(usable)} of {len(given)} rated answers are usable, and a run needs both liked "
            "and disliked ones. Answers whose prompt cannot be reconstructed and answers to golden "
            "questions are left out."
        )
    training_set = encoder.training_set(list(trained), search, after)
    objective = Kto({**trained, **held_out}, recipe.preference_beta, recipe.seed)
    known = preference_sets.judges_of_run(db, run.id)
    judges = {one: known.get(rated.reply_id, ()) for one, rated in usable.items()}
    return PreferenceSet(training_set, objective, held_out, len(given) - len(usable), judges)


class AnswerEncoder:
    """Answers of a run as examples, each with the prompt that the engine got."""

    def __init__(
        self, db: Database, settings: Settings, inputs: RunInputs, tokenizer: Any, recipe: Recipe
    ) -> None:
        self._db, self._settings, self._inputs, self._recipe = db, settings, inputs, recipe
        self._tokenizer, self._stops = tokenizer, stop_ids(tokenizer)
        self._golden: Index[int] = Index()
        for pair in datasets.pairs_of(db, inputs.dataset.id, "golden"):
            self._golden.add(pair.id, pair.prompt)

    def example(self, rated: RatedReply) -> Example | None:
        """The answer as an example, or None when it is unusable or answers a golden question."""
        made = _example(rated, self._inputs.domain, self._encoded)
        return made if self._golden.find(rated.question) is None else None

    def training_set(
        self, answers: Sequence[Example], search: PairSearch | None, after: TrainingSet | None
    ) -> TrainingSet:
        """The training set of these answers. What is measured is that of the stage before, or the
        held-out pairs of the dataset."""
        return TrainingSet(
            recipe=self._recipe,
            epoch=lambda _: answers,
            measured=after.measured if after is not None else self._measured(search),
            selected_by=(),
            compared_by=(),
            held_out=(),
            new=len(answers),
            superseded=0,
            reworded=0,
        )

    def _encoded(self, pair: Pair) -> Example:
        return encode(
            pair,
            self._tokenizer,
            system_prompt=self._inputs.domain.system_prompt,
            stops=self._stops,
            max_length=self._recipe.max_length,
        )

    def _measured(self, search: PairSearch | None) -> dict[str, list[Example]]:
        """With references, where the adapter was trained with some."""
        found = None
        if self._recipe.references and search is not None:
            found = frozen_references.of_run(
                self._db, search, self._settings, self._inputs, self._recipe.references
            )

        def measurable(pair: Pair) -> Example:
            if found is None:
                return self._encoded(pair)
            return fitting(pair, found.of(found.question(pair))[: found.count], self._encoded)[1]

        measured = {}
        for part in MEASURED:
            some = datasets.pairs_of(self._db, self._inputs.dataset.id, part)[:MEASURED_EXAMPLES]
            if some:
                measured[str(part)] = [measurable(pair) for pair in some]
        return measured


def preference_recipe(
    settings: Settings,
    inputs: RunInputs,
    learned: str,
    answers: int,
    after: TrainingSet | None = None,
) -> Recipe:
    """A small rate and few epochs. The shape is the parent's, and the request may change the other
    settings; after another stage, they are that stage's. Raises Invalid without a parent."""
    run, parent = inputs.run, inputs.parent
    tiny = count_parameters(settings.base.path) < TINY_BASE
    values = (TINY if tiny else USUAL) | {methods.KEY: run.method}
    if after is not None:
        off = {"find_rate": False, "packing": False, "neftune_alpha": 0.0, "patience": 0}
        return after.recipe.model_copy(update=values | off | {"why": _then(run.method, learned)})
    if parent is None:
        raise Invalid(
            "A run on judgements of answers continues an adapter, and this one has no parent."
        )
    asked = search_space.overrides(run.recipe)
    usual = choose_recipe(settings, replace(run, recipe=values), answers, parent)
    recipe = choose_recipe(settings, replace(run, recipe=values | asked), answers, parent)
    name = run.method.upper()
    why = f"{learned}: {name} from {parent.name}, with a small rate and few epochs."
    why += precision_reason(recipe, base_precision.quantization(settings))
    return recipe.model_copy(update={"why": why + asked_for(recipe, usual, asked)})


def _then(method: str, learned: str) -> str:
    last = method.rpartition("+")[2].upper()
    return f" Then {last} on {learned}, with a small rate and few epochs."


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
    """Trained and held-out answers."""
    parts: tuple[dict[Example, bool], dict[Example, bool]] = ({}, {})
    for held_out, (example, rated) in zip(
        held_out_answers(list(usable.values())), usable.items(), strict=True
    ):
        parts[held_out][example] = rated.liked
    return parts


def held_out_answers(usable: Sequence[RatedReply]) -> list[bool]:
    """Whether each answer only measures the run. All answers to a question, also in nearly the same
    words, are on the same side."""
    asked = [normalise(rated.question) for rated in usable]
    numbers = joined(asked)
    name: dict[int, str] = {}
    for number, words in zip(numbers, asked, strict=True):
        name[number] = min(words, name.get(number, words))
    if len(usable) < ENOUGH:
        return [False] * len(usable)
    return [hash_share(name[number], "thumbs") < HELD_OUT for number in numbers]
