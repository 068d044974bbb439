"""What a run teaches and what it is measured on: a frozen dataset made ready for the loop.

All pairs of all parts become token ids here, before the base model is loaded, so that a pair
that cannot be used is named within seconds.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from data.adapters import files, registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.pairs import contamination, datasets
from data.pairs.pairs import Pair
from data.runs.runs import Run
from data.store.errors import Invalid, NotFound
from tuning.data import replay
from tuning.data.examples import Example, check, encode_all
from tuning.data.run_inputs import RunInputs
from tuning.model import base_model, chat_template
from tuning.model.chat_template import stop_ids
from tuning.recipe import search_space
from tuning.recipe.recipe import LossTurns, Recipe, check_shape

log = logging.getLogger(__name__)

PARTS: tuple[datasets.Part, ...] = ("train", "validation", "probe", "golden")
WATCHED = 256  # examples of a part whose loss is measured during training


@dataclass(frozen=True)
class HeldOutQuestion:
    """What is given to a model, and what it should say."""

    prompt: tuple[int, ...]
    text: str
    expected: str
    expected_tokens: int


@dataclass(frozen=True)
class Fold:
    """Which facts a trial of a cross-validation holds out."""

    number: int  # from 0
    of: int


@dataclass(frozen=True)
class TrainingSet:
    """Everything the loop and the evaluation need, as token ids."""

    recipe: Recipe
    epoch: Callable[[int], Sequence[Example]]  # the examples of the n-th pass
    measured: Mapping[str, Sequence[Example]]  # parts whose loss is watched
    selected_by: tuple[str, ...]  # the parts whose summed loss chooses the checkpoint
    compared_by: tuple[str, ...]  # the parts whose mean loss the trials of a search are compared by
    new: int  # pairs the parent had not seen; of a full run: all
    superseded: int  # pairs left out, because their question has a newer answer
    reworded: int  # pairs trained with the newer answer of their fact
    held_out: Sequence[HeldOutQuestion] = ()  # of a fold


def prepare_training_set(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    *,
    fold: Fold | None = None,
    found: Mapping[str, Any] | None = None,
) -> TrainingSet:
    """`found` is what a search says of the recipe. Raises Invalid, naming the pair or the setting,
    when the run would be a waste."""
    run, domain, dataset, parent = inputs.run, inputs.domain, inputs.dataset, inputs.parent
    parts = {part: datasets.pairs_of(db, dataset.id, part) for part in PARTS}
    today = replay.current([pair for part in PARTS for pair in parts[part]])
    part_of = {pair.id: part for part in PARTS for pair in parts[part]}
    kept: dict[str, list[Pair]] = {part: [] for part in PARTS}
    for pair in today.pairs:
        kept[part_of[pair.id]].append(pair)
    if fold is not None:
        kept |= folded(kept["train"], fold)

    known: set[int] = set()
    if parent is not None:
        _check_parent(settings, parent)
        chat_template.check(parent.folder(settings.home), parent.name, tokenizer)
        if parent.dataset_id is not None:
            known = {p.id for p in datasets.pairs_of(db, parent.dataset_id, "train")}
        known -= set(today.reworded)
        taught = registry.taught(db, parent) - set(today.reworded)
        for part in ("validation", "probe"):  # such as when there were too few to hold any out
            kept[part] = [pair for pair in kept[part] if pair.id not in taught]
    new_ids = {p.id for p in kept["train"]} - known
    if parent is not None and not new_ids:
        raise Invalid(
            f"Nothing new can be trained since {parent.name}: the new pairs belong to the golden "
            "or validation set, which adapters are measured on and never trained on."
        )

    recipe = choose_recipe(settings, run, len(new_ids), parent, found)
    stops = stop_ids(tokenizer)

    def encoded(some: list[Pair], loss_turns: LossTurns = "last") -> list[Example]:
        return encode_all(
            some,
            tokenizer,
            system_prompt=domain.system_prompt,
            stops=stops,
            max_length=recipe.max_length,
            loss_turns=loss_turns,
        )

    if recipe.loss_turns == "all":
        contamination.refuse_earlier_answers(kept["golden"], kept["train"])
    train = encoded(kept["train"], recipe.loss_turns)
    check(train, stops)
    measured = {part: encoded(kept[part])[:WATCHED] for part in ("validation", "probe")}
    measured = {part: examples for part, examples in measured.items() if examples}
    # Facts that nobody could guess say little of when a base that learns by rote is at its best:
    # without early stopping they are measured, and held-out phrasings alone choose the weights.
    held = next(((part,) for part in ("probe", "validation") if part in measured), ())
    selected_by = held if recipe.patience or held == ("probe",) else ()
    epoch: Callable[[int], Sequence[Example]] = lambda _: train  # noqa: E731
    if parent is not None:
        new = [e for e in train if e.pair_id in new_ids]
        old = [e for e in train if e.pair_id not in new_ids]
        epoch = replay.mixed(new, old, recipe.replay_share, recipe.seed, recipe.batch_size)
        measured["new"] = new[:WATCHED]
        selected_by = ("new", *selected_by)  # learned, and not at the cost of what was known
        held = ("new", *held)
    if recipe.patience and not selected_by:
        why = f"{recipe.why} Nothing is held out, so it does not stop early."
        recipe = recipe.model_copy(update={"why": why})
    encoded(kept["golden"])  # what could not be measured is found before anything is trained
    held_out = questions(kept["validation"], encoded(kept["validation"])) if fold else []
    return TrainingSet(
        recipe, epoch, measured, selected_by, held,
        len(new_ids), len(today.superseded), len(today.reworded), held_out,
    )  # fmt: skip


def folded(pairs: Sequence[Pair], fold: Fold) -> dict[str, list[Pair]]:
    """The parts of a cross-validated run: what its fold holds out is validation, the rest is
    trained on. All phrasings of a fact are in one fold. Raises Invalid with too few facts."""
    facts = search_space.folds_of([pair.fact for pair in pairs], fold.of)
    if len(facts) < fold.of:
        raise Invalid(f"There are {len(facts)} facts, too few for {fold.of} folds.")
    held = [pair for pair in pairs if facts[pair.fact] == fold.number]
    rest = sorted((p for p in pairs if facts[p.fact] != fold.number), key=lambda p: p.id)
    return {"train": rest, "validation": held}


def choose_recipe(
    settings: Settings,
    run: Run,
    pairs: int,
    parent: Adapter | None,
    found: Mapping[str, Any] | None = None,
) -> Recipe:
    """The run's recipe: defaults for so many pairs, what was asked for, what a search `found`, the
    parent's shape. Raises Invalid for what does not go with the base or with the parent."""
    asked = search_space.overrides(run.recipe)
    recipe = Recipe.for_pairs(
        pairs,
        base_parameters=base_model.count_parameters(settings.base.path),
        incremental=parent is not None,
        max_length=settings.serving.max_model_len,
        overrides=asked,
        found=found,
    )
    given = asked | dict(found or {})
    recipe = _as_long_as_the_base(settings, recipe, asked="max_length" in given)
    if parent is not None:
        recipe = _shaped(settings, recipe, given, parent)
    recipe.check_servable(settings.serving.rank_limit)
    return recipe


def _as_long_as_the_base(settings: Settings, recipe: Recipe, *, asked: bool) -> Recipe:
    """No pair may be longer than what the base was made for: it would be learned badly, or end the
    run in the middle."""
    most = base_model.positions(settings.base.path)
    if most is None or recipe.max_length <= most:
        return recipe
    if asked:
        raise Invalid(
            f"max_length is {recipe.max_length:,}, and the base model was made for {most:,} tokens."
        )
    return recipe.model_copy(update={"max_length": most})


def _shaped(
    settings: Settings, recipe: Recipe, given: Mapping[str, Any], parent: Adapter
) -> Recipe:
    """The recipe in the parent's shape. Its dropout is kept, too, unless another is asked for."""
    shape = _shape_of(settings, parent)
    if "target_modules" in given:
        given = {**given, "target_modules": base_model.target_names(settings.base.path, recipe)}
    check_shape(given, shape, parent.name)
    if "dropout" in given:
        del shape["dropout"]
    return Recipe.model_validate(recipe.model_dump() | shape)


def _shape_of(settings: Settings, parent: Adapter) -> dict[str, Any]:
    file = parent.folder(settings.home) / files.CONFIG
    config = json.loads(file.read_bytes())
    return {
        "rank": config["r"],
        "alpha": config["lora_alpha"],
        "dropout": config.get("lora_dropout", 0.0),
        "target_modules": tuple(sorted(config["target_modules"])),
        "rslora": bool(config.get("use_rslora", False)),
        "frozen_layers": min(config.get("layers_to_transform") or [0]),
    }


def _check_parent(settings: Settings, parent: Adapter) -> None:
    if parent.base_model != settings.base.model:
        raise Invalid(
            f"{parent.name} was tuned on {parent.base_model}, and this deployment serves "
            f"{settings.base.model}. Ask for a full run."
        )
    if not parent.folder(settings.home).is_dir():
        raise NotFound(
            f"The files of {parent.name} are gone ({parent.folder(settings.home)}). "
            "Restore them from a backup, or ask for a full run."
        )


def questions(pairs: Sequence[Pair], examples: Sequence[Example]) -> list[HeldOutQuestion]:
    """What a model is asked when it is measured on pairs."""
    return [
        HeldOutQuestion(example.prompt, pair.prompt, pair.response, example.answered)
        for pair, example in zip(pairs, examples, strict=True)
    ]
