"""The training set of DPO: answers that were given, each with a better one to the same prompt.

Left out is what `preference_set.py` leaves out, and pairs of which one answer is too long.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlite_utils import Database

from data.config.settings import Settings
from data.pairs import preference_pairs, preference_sets
from data.pairs.preference_pairs import PreferencePair
from data.runs.phases import Phase
from data.search.search import PairSearch
from data.store.errors import Invalid
from tuning.data.examples import Example
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import Fold, TrainingSet
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe
from tuning.training.dpo import Dpo, preferred
from tuning.training.method_setup import JudgedMargin, MethodSetup
from tuning.training.preference_set import AnswerEncoder, held_out_answers, preference_recipe


@dataclass(frozen=True)
class DpoSet:
    """The training set, its objective, and the pairs that were held out."""

    training_set: TrainingSet
    objective: Dpo
    held_out: tuple[Example, ...]  # their chosen answers
    left_out: int  # unusable pairs
    judges: Mapping[Example, tuple[str, ...]]  # who judged so

    def judged(self, base: Base, model: Any, recipe: Recipe) -> list[JudgedMargin]:
        """How far training followed each judgement."""
        every = list(self.objective.rejected)
        chosen, rejected = self.objective.gains(base, model, every, recipe)
        return [
            JudgedMargin(margin, self.judges[one], one in self.held_out)
            for one, margin in zip(every, (chosen - rejected).tolist(), strict=True)
        ]

    def gains(self, base: Base, model: Any, recipe: Recipe) -> dict[str, Any]:
        """How training changed the probabilities of trained and held-out pairs, for the scores."""
        parts = {"trained": list(self.training_set.epoch(0)), "held_out": list(self.held_out)}
        found: dict[str, Any] = {
            part: asdict(preferred(self.objective.gains(base, model, some, recipe)))
            for part, some in parts.items()
            if some
        }
        return found | {"left_out": self.left_out}


def set_up_dpo(
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
    """DPO on answers and better ones. It has no trials: they compare losses on held-out pairs.
    `after`: the training set of the stage before it."""
    made = prepare_dpo_set(db, settings, inputs, tokenizer, search, after)
    return MethodSetup(
        made.training_set,
        objective=made.objective.learn,
        begin=made.objective.prepare,
        begin_phase=Phase.SCORING_RATED_ANSWERS,
        scores=lambda base, model, recipe: {"preferences": made.gains(base, model, recipe)},
        judged=made.judged,
    )


def prepare_dpo_set(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    search: PairSearch | None = None,
    after: TrainingSet | None = None,
) -> DpoSet:
    """Raises Invalid when nothing is left to learn from, or when the run continues no adapter."""
    given = preference_pairs.of_run(db, inputs.run.id, settings.bot.history_turns)
    learned = f"{len(given)} answers with a better one"
    recipe = preference_recipe(settings, inputs, learned, len(given), after)
    encoder = AnswerEncoder(db, settings, inputs, tokenizer, recipe)
    usable: dict[Example, tuple[Example, PreferencePair]] = {}
    for pair in given:
        found = _examples(encoder, pair)
        if found is not None:
            usable[found[0]] = found[1], pair
    apart = held_out_answers([pair.rejected for _, pair in usable.values()])
    held_out = {one for one, out in zip(usable, apart, strict=True) if out}
    trained = [one for one in usable if one not in held_out]
    if not trained:
        raise Invalid(
            f"{len(usable)} of {len(given)} answers with a better one are usable, and a run needs "
            "some. Answers whose prompt cannot be reconstructed and answers to golden questions "
            "are left out."
        )
    objective = Dpo({one: other for one, (other, _) in usable.items()}, recipe.preference_beta)
    training_set = encoder.training_set(trained, search, after)
    known = preference_sets.judges_of_run(db, inputs.run.id)
    judges = {one: known.get(p.rejected.reply_id, ()) for one, (_, p) in usable.items()}
    apart_in_order = tuple(one for one in usable if one in held_out)
    return DpoSet(training_set, objective, apart_in_order, len(given) - len(usable), judges)


def _examples(encoder: AnswerEncoder, pair: PreferencePair) -> tuple[Example, Example] | None:
    """The chosen and the rejected answer, or None when one of them is unusable."""
    rejected = encoder.example(pair.rejected)
    chosen = encoder.example(replace(pair.rejected, answer=pair.chosen, liked=True))
    if rejected is None or chosen is None or rejected.ids == chosen.ids:
        return None
    return chosen, replace(rejected, pair_id=-rejected.pair_id)
