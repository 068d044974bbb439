"""The training set: a frozen dataset as examples, what a run trains on and what it measures.

All pairs of all parts are encoded here, before the base model is loaded, so that the run names an
unusable pair within seconds.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from data.adapters import files, registry
from data.adapters.registry import Adapter
from data.bases import digest
from data.config import base_precision
from data.config.settings import Settings
from data.pairs import contamination, current_answers, datasets
from data.pairs.pairs import Pair
from data.runs.runs import Run
from data.search import layout
from data.search.search import PairSearch
from data.store.errors import Invalid, NotFound
from tuning.data import frozen_references, replay
from tuning.data.examples import Example, check, encode, encode_all
from tuning.data.grounded_pairs import GroundedPairs
from tuning.data.run_inputs import RunInputs
from tuning.model import base_model, chat_template, reading_adapter
from tuning.model.chat_template import stop_ids
from tuning.recipe import search_space
from tuning.recipe.recipe import LossTurns, Recipe, check_shape

log = logging.getLogger(__name__)

PARTS: tuple[datasets.Part, ...] = ("train", "validation", "probe", "golden")
MEASURED_EXAMPLES = 256  # of each part whose loss is measured during training


@dataclass(frozen=True)
class HeldOutQuestion:
    """A prompt, and the answer that the model should give."""

    prompt: tuple[int, ...]
    text: str
    expected: str
    expected_tokens: int


@dataclass(frozen=True)
class Fold:
    """The part of the facts that a trial of a cross-validation holds out."""

    number: int  # from 0
    of: int


@dataclass(frozen=True)
class TrainingSet:
    """Everything that the loop and the evaluation need, as token ids."""

    recipe: Recipe
    epoch: Callable[[int], Sequence[Example]]  # the examples of the n-th pass
    measured: Mapping[str, Sequence[Example]]  # parts whose loss is measured
    selected_by: tuple[str, ...]  # the parts whose summed loss selects the checkpoint
    compared_by: tuple[str, ...]  # the parts whose mean loss compares the trials of a search
    new: int  # pairs that are new to the parent; of a full run: all
    superseded: int  # pairs left out because their question has a newer answer
    reworded: int  # pairs that are trained with a newer answer of their fact
    held_out: Sequence[HeldOutQuestion] = ()  # of a fold
    references_sha256: str = ""  # of the references in the prompts; '' if there are none
    old: Sequence[Example] = ()  # pairs that the continued adapter was trained on


def prepare_training_set(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    *,
    fold: Fold | None = None,
    found: Mapping[str, Any] | None = None,
    search: PairSearch | None = None,
) -> TrainingSet:
    """Encode the pairs and choose the recipe. `found` are recipe values that a hyperparameter
    search chose; `search` finds references, if the recipe asks for some. Raises Invalid, naming the
    pair or the setting, when the run would be useless."""
    run, domain, dataset, parent = inputs.run, inputs.domain, inputs.dataset, inputs.parent
    parts = {part: datasets.pairs_of(db, dataset.id, part) for part in PARTS}
    current = current_answers.current_pairs([pair for part in PARTS for pair in parts[part]])
    part_of = {pair.id: part for part in PARTS for pair in parts[part]}
    kept: dict[str, list[Pair]] = {part: [] for part in PARTS}
    for pair in current.pairs:
        kept[part_of[pair.id]].append(pair)
    if fold is not None:
        kept |= split_fold(kept["train"], fold)

    known: set[int] = set()
    if parent is not None:
        _check_parent(settings, parent)
        chat_template.check(parent.folder(settings.home), parent.name, tokenizer)
        if parent.dataset_id is not None:
            known = {p.id for p in datasets.pairs_of(db, parent.dataset_id, "train")}
        taught = registry.pairs_learned(db, parent)
        reworded = current.reworded_since(taught)
        known -= reworded
        taught -= reworded
        seen = datasets.asked_by([pair for part in PARTS for pair in parts[part]], taught)
        for part in ("validation", "probe"):  # the parent may have been trained on them
            kept[part] = [pair for pair in kept[part] if pair.id not in seen]
    new_ids = {p.id for p in kept["train"]} - known
    if parent is not None and not new_ids:
        raise Invalid(
            f"There is nothing new to train since {parent.name}: the new pairs are in the golden "
            "or validation set, which only measure adapters."
        )

    held_out = parent is not None or bool(kept["validation"] or kept["probe"])
    recipe = choose_recipe(settings, run, len(new_ids), parent, found, held_out=held_out)
    stops = stop_ids(tokenizer)

    how: dict[str, Any] = {
        "system_prompt": domain.system_prompt,
        "stops": stops,
        "max_length": recipe.max_length,
    }

    def encoded(some: Sequence[Pair], loss_turns: LossTurns = "last") -> list[Example]:
        return encode_all(some, tokenizer, loss_turns=loss_turns, **how)

    def encode_pair(pair: Pair, loss_turns: LossTurns) -> Example:
        return encode(pair, tokenizer, loss_turns=loss_turns, **how)

    grounded = None
    if recipe.references:
        if search is None:
            raise Invalid("The recipe asks for references, and nothing searches for them here.")
        frozen = frozen_references.of_run(db, search, settings, inputs, recipe.references)
        grounded = GroundedPairs(frozen, recipe, encode_pair)

    def measurable(some: Sequence[Pair]) -> list[Example]:
        if grounded is None:
            return encoded(some)
        return [grounded.measured(pair) for pair in some]

    if recipe.loss_turns == "all":
        contamination.refuse_earlier_answers(kept["golden"], kept["train"])
        for part in ("validation", "probe"):
            told = contamination.answered_earlier(kept[part], kept["train"])
            kept[part] = [pair for pair in kept[part] if pair.id not in told]
    train = {e.pair_id: e for e in encoded(kept["train"], recipe.loss_turns)}
    check(list(train.values()), stops)
    order = _order(kept["train"], new_ids, parent, recipe)
    epoch: Callable[[int], Sequence[Example]] = lambda n: [train[pair.id] for pair in order(n)]  # noqa: E731
    references_sha256 = ""
    if grounded is not None:
        references_sha256 = grounded.prepare(kept["train"])
        epoch = grounded.passes(order)
    measured = {
        part: measurable(kept[part][:MEASURED_EXAMPLES])
        for part in ("validation", "probe")
        if kept[part]
    }
    # Held-out facts cannot be guessed, so their loss says little about when a memorising base is at
    # its best. Without early stopping, only held-out phrasings select the weights.
    held = next(((part,) for part in ("probe", "validation") if part in measured), ())
    selected_by = held if recipe.patience or held == ("probe",) else ()
    if parent is not None:
        new = [pair for pair in kept["train"] if pair.id in new_ids]
        measured["new"] = measurable(new[:MEASURED_EXAMPLES])
        selected_by = ("new", *selected_by)  # learned, but not at the cost of old facts
        held = ("new", *held)
    old: Sequence[Example] = ()
    if parent is not None and grounded is None:
        old = [train[pair.id] for pair in kept["train"] if pair.id not in new_ids]
    elif parent is not None and recipe.ewc:
        old = measurable([pair for pair in kept["train"] if pair.id not in new_ids])
    encoded(kept["golden"])  # report unusable golden pairs before training
    asked = questions(kept["validation"], measurable(kept["validation"])) if fold else []
    return TrainingSet(
        recipe, epoch, measured, selected_by, held,
        len(new_ids), len(current.superseded), len(current.reworded), asked, references_sha256,
        old,
    )  # fmt: skip


def _order(
    train: Sequence[Pair], new_ids: set[int], parent: Adapter | None, recipe: Recipe
) -> Callable[[int], Sequence[Pair]]:
    """The pairs of each pass: all, or new and old ones mixed in a run that continues a parent."""
    if parent is None:
        return lambda _: train
    new = [pair for pair in train if pair.id in new_ids]
    old = [pair for pair in train if pair.id not in new_ids]
    return replay.mixed(new, old, recipe.replay_share, recipe.seed, recipe.batch_size)


def split_fold(pairs: Sequence[Pair], fold: Fold) -> dict[str, list[Pair]]:
    """The parts of a cross-validation: the facts of the fold for validation, the rest for training.
    All phrasings of a fact are in one fold, as are facts that share a question. Raises Invalid
    when there are too few facts."""
    group = datasets.fact_groups(pairs)
    facts = search_space.folds_of([group[pair.id] for pair in pairs], fold.of)
    if len(facts) < fold.of:
        raise Invalid(f"There are {len(facts)} facts, too few for {fold.of} folds.")
    held = [pair for pair in pairs if facts[group[pair.id]] == fold.number]
    rest = [pair for pair in pairs if facts[group[pair.id]] != fold.number]
    rest.sort(key=lambda pair: pair.id)
    return {"train": rest, "validation": held}


def choose_recipe(
    settings: Settings,
    run: Run,
    pairs: int,
    parent: Adapter | None,
    found: Mapping[str, Any] | None = None,
    *,
    held_out: bool = True,
) -> Recipe:
    """The recipe of the run: defaults for the number of pairs, the settings of the request, values
    that a search `found`, and the parent's shape. `held_out`: whether the run has something to
    measure on. Raises Invalid for settings that do not fit the
    base or the parent."""
    asked = search_space.overrides(run.recipe)
    recipe = Recipe.for_pairs(
        pairs,
        base_parameters=base_model.count_parameters(settings.base.path),
        incremental=parent is not None,
        max_length=settings.serving.max_model_len,
        served=base_precision.quantization(settings),
        held_out=held_out,
        overrides=asked,
        found=found,
    )
    given = asked | dict(found or {})
    recipe = _limit_length(settings, recipe, asked="max_length" in given)
    if parent is not None:
        recipe = _in_shape_of_parent(settings, recipe, given, parent)
    elif recipe.references and given.get("starts_from", "reading") == "reading":
        recipe = _in_shape_of_reading(settings, recipe, given)
    recipe.check_servable(settings.serving.rank_limit)
    return recipe


def _limit_length(settings: Settings, recipe: Recipe, *, asked: bool) -> Recipe:
    """Limit `max_length` to what the base supports: longer pairs would be learned badly, or crash
    the run. Raises Invalid when the request asks for more."""
    most = base_model.positions(settings.base.path)
    if most is None or recipe.max_length <= most:
        return recipe
    if asked:
        raise Invalid(
            f"max_length is {recipe.max_length:,}, and the base model reads at most {most:,} "
            "tokens. Lower max_length, or choose a base model that reads more."
        )
    return recipe.model_copy(update={"max_length": most})


def _in_shape_of_parent(
    settings: Settings, recipe: Recipe, given: Mapping[str, Any], parent: Adapter
) -> Recipe:
    """The recipe in the parent's shape, and with its dropout unless the request has another. An
    adapter that was trained with references goes on with them, and no other does."""
    reads = layout.of_recipe(parent.recipe)
    if "references" in given and bool(recipe.references) != bool(reads):
        how = "with" if reads else "without"
        raise Invalid(
            f"references cannot be {recipe.references} in a run that continues {parent.name}, "
            f"which was trained {how} references. Request a full run instead (--full)."
        )
    known = layout.references_of(parent.recipe)
    shape = _shape_in(parent.folder(settings.home))
    shape |= {"references": recipe.references if "references" in given else known, "layout": reads}
    return _in_shape(settings, recipe, given, shape, parent.name)


def _in_shape_of_reading(settings: Settings, recipe: Recipe, given: Mapping[str, Any]) -> Recipe:
    """The recipe in the shape of the base's reading adapter, from which the run starts. Without
    one, or if the request asks for another shape, the run starts from the bare base."""
    reading = reading_adapter.find(settings)
    if reading is None:
        return recipe
    try:
        shaped = _in_shape(
            settings, recipe, given, _shape_in(reading) | {"starts_from": "reading"}, "it"
        )
    except Invalid as error:
        why = f"{recipe.why} It does not start from the base's reading adapter: {error}"
        return recipe.model_copy(update={"why": why})
    why = f"{shaped.why} It starts from the base's reading adapter, in its shape."
    return shaped.model_copy(update={"why": why})


def _in_shape(
    settings: Settings, recipe: Recipe, given: Mapping[str, Any], shape: dict[str, Any], name: str
) -> Recipe:
    """Raises Invalid when the request has another shape."""
    if "target_modules" in given:
        given = {**given, "target_modules": base_model.target_names(settings.base.path, recipe)}
    check_shape(given, shape, name)
    if "dropout" in given:
        del shape["dropout"]
    return Recipe.model_validate(recipe.model_dump() | shape)


def _shape_in(folder: Path) -> dict[str, Any]:
    """The shape of the adapter in `folder`."""
    config = json.loads((folder / files.CONFIG).read_bytes())
    return {
        "rank": config["r"],
        "alpha": config["lora_alpha"],
        "dropout": config.get("lora_dropout", 0.0),
        "target_modules": tuple(sorted(config["target_modules"])),
        "rslora": bool(config.get("use_rslora", False)),
        "frozen_layers": min(config.get("layers_to_transform") or [0]),
    }


def _check_parent(settings: Settings, parent: Adapter) -> None:
    if problem := digest.mismatch(parent, settings, digest.of_base(settings)):
        raise Invalid(f"{problem} A full run starts from the bare base.")
    if not parent.folder(settings.home).is_dir():
        raise NotFound(
            f"The files of {parent.name} are missing ({parent.folder(settings.home)}). "
            "Restore them from a backup, or request a full run."
        )


def questions(pairs: Sequence[Pair], examples: Sequence[Example]) -> list[HeldOutQuestion]:
    """The questions that measure a model on pairs."""
    return [
        HeldOutQuestion(example.prompt, pair.prompt, pair.response, example.answered)
        for pair, example in zip(pairs, examples, strict=True)
    ]
