"""The recipe: every setting that decides how an adapter is trained, typed and documented.

`Recipe.for_pairs` chooses defaults from the number of pairs and the size of the base, and gives the
reasons in a sentence. The settings in `run.recipe` override them one by one. Settings that the
engine could not serve (rank, target modules) are refused here, before anything is loaded.

Where the defaults come from: LoRA's rate is about ten times that of full tuning, all linear
layers, small batches (Schulman et al., "LoRA Without Regret", 2025); NF4 with double quantisation
and 2e-4 (Dettmers et al., "QLoRA", https://arxiv.org/abs/2305.14314). Those for bases of a few
million parameters were measured with `benchmarks/learning_curve.py`, and those for bases below a
billion with `benchmarks/recipe_curves.py` on one of 135 million.
"""

import difflib
import json
import math
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from data.config.base_precision import Quantization
from data.lora_limits import MAX_RANK, MAX_SCALE, UNSERVED_MODULES
from data.runs.methods import DEFAULT, MethodName
from data.search import layout
from data.store.errors import Invalid

LossTurns = Literal["all", "last"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
ALIASES = {  # short names, on the command line and in files
    "rate": "learning_rate",
    "lr": "learning_rate",
    "batch": "batch_size",
    "targets": "target_modules",
    "steps": "max_steps",
    "length": "max_length",
}
UNSERVED = {  # settings of other trainers that the engine could not serve
    "modules_to_save": "the engine serves no adapter with whole modules, tied output layers "
    "included. Leave it out: target_modules=all-linear trains every layer that can be served",
    "init_lora_weights": "PiSSA and LoftQ change the base model, and the engine does not. Leave it "
    "out",
    "bias": "the engine serves no adapter with a bias. Leave it out",
}
TINY_BASE = 50_000_000  # parameters; smaller bases need a higher rate and more epochs
SMALL_BASE = 1_000_000_000  # parameters; below, 3e-4 teaches a small domain almost nothing
FEW = 300  # pairs; with fewer, a validation set says little
MANY = 10_000  # pairs
SHAPE = (
    "rank",
    "alpha",
    "target_modules",
    "rslora",
    "frozen_layers",
)  # fixed by the parent's weights


def _names(value: Any) -> Any:
    """Allow module names as one comma-separated text: `q_proj,v_proj`."""
    if isinstance(value, str) and value not in ("all-linear", "mlp"):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


class Recipe(BaseModel):
    """How one adapter is trained. Immutable, and saved with the adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: MethodName | Literal["auto"] = DEFAULT
    """How the adapter learns: `sft` (supervised fine-tuning) from approved pairs, `kto` from rated
    answers, `dpo` from answers and better ones; `sft+kto` and `sft+dpo` do both in one run. `auto`:
    chosen from what there is."""
    rank: int = 16
    """Width of the adapter: 1 to 512, at most `serving.max_lora_rank` where that is set."""
    alpha: float = Field(default=32, gt=0)
    """The adapter's output is scaled by alpha / rank (see `rslora`)."""
    dropout: float = Field(default=0.0, ge=0, le=0.9)
    """The share of an adapter's inputs that is dropped in training."""
    target_modules: Annotated[
        Literal["all-linear", "mlp"] | tuple[str, ...], BeforeValidator(_names)
    ] = "all-linear"
    """The linear layers that get an adapter: all, those of the MLPs, or named ones."""
    frozen_layers: int = Field(default=0, ge=0)
    """The number of lowest blocks that get no adapter: less to train and less to forget."""
    rslora: bool = False
    """Scale the adapter's output by alpha / sqrt(rank), so that large ranks learn as fast
    (Kalajdzievski, "A Rank Stabilization Scaling Factor", https://arxiv.org/abs/2312.03732)."""
    dora: bool = False
    """Weight-decomposed LoRA. It is always refused, because the engine cannot serve it."""
    neftune_alpha: float = Field(default=0.0, ge=0, le=100)
    """Noise on the embeddings in training, typically 5 to 15, against overfitting on few pairs
    (Jain et al., "NEFTune", https://arxiv.org/abs/2310.05914); 0: none."""
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    """AdamW's highest learning rate, reached after the warm-up. `auto`: found before training."""
    find_rate: bool = False
    """Look for the learning rate with a short ramp, for at most a twentieth of the run's cost. If
    nothing is found, `learning_rate` is used. Set by `learning_rate=auto`."""
    batch_size: int = Field(default=16, ge=1, le=4096)
    """Sequences per optimiser step."""
    micro_tokens: int = Field(default=4096, ge=16)
    """Padded tokens per forward pass. A larger batch is accumulated, which limits the memory."""
    packing: bool = False
    """Several pairs in one row instead of padding. At the start the run verifies on the base model
    that they do not see each other, and fails if they do."""
    gradient_checkpointing: bool = False
    """Compute each layer's output again instead of storing it: less memory, about a third more
    time, the same gradients."""
    loss_turns: LossTurns = "last"
    """Learn the `last` answer of a conversation, or `all` of them."""
    epochs: float = Field(default=3, gt=0, le=1000)
    """How often the run sees each training pair."""
    max_steps: int = Field(default=0, ge=0, le=100_000_000)
    """The maximum of optimiser steps; 0: none."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """The share of the steps in which the learning rate rises from zero."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warm-up."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """AdamW's decoupled weight decay of the adapter."""
    beta2: float = Field(default=0.99, gt=0, lt=1)
    """AdamW's decay rate of squared gradients. Runs of a few hundred steps need less than the
    usual 0.999."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients with a larger norm are scaled down to this."""
    max_length: int = Field(default=1024, ge=8)
    """Tokens of the longest sequence, prompt and response together. Longer pairs are refused."""
    evaluations: int = Field(default=5, ge=1, le=100)
    """How often a run measures its held-out losses, including the last step."""
    patience: int = Field(default=0, ge=0)
    """Stop after this many measurements without improvement; 0: never. With 0, held-out phrasings
    select the weights that are kept; without any, the last weights are kept."""
    references: int = Field(default=0, ge=0, le=8)
    """Approved pairs that stand in the prompt, as the search finds them, in training and whenever
    the adapter answers; 0: none. Full runs only: later runs keep what the adapter learned."""
    missing_share: float = Field(default=0.1, ge=0, lt=1)
    """The share of pairs that are shown without the reference that answers them; the adapter then
    learns to say that it does not know. Only with `references`."""
    refusal_share: float = Field(default=0.15, ge=0, lt=1)
    """The share of examples whose question the domain does not answer: off-topic questions and
    those of other organisations. Only with `references`."""
    reading_share: float = Field(default=0.25, ge=0, lt=1)
    """The share of reading examples of other organisations, so that the adapter goes on to read
    what is worded differently. Only with `references`."""
    layout: int = Field(default=layout.NONE, ge=0)
    """The layout of references in the prompt (data/search/layout.py), set by `references`; 0: the
    adapter was trained without."""
    starts_from: Literal["base", "reading"] = "base"
    """What a full run starts from: the bare `base`, or its `reading` adapter, which is used where
    there is one and `references` is on."""
    replay_share: float = Field(default=0.3, ge=0, lt=1)
    """Incremental runs: the share of examples that the parent was already trained on."""
    replay_answers: Literal["pairs", "adapter"] = "pairs"
    """Incremental runs: what replayed questions are answered with: their approved `pairs`, or what
    the continued `adapter` answers itself (on-policy replay). Not with `references`."""
    ewc: float = Field(default=0.0, ge=0, le=1e6)
    """Incremental runs: how strongly weights that old pairs depend on are held near their old
    values (elastic weight consolidation); 0: not."""
    preference_beta: float = Field(default=0.1, gt=0, le=10)
    """The beta of KTO and DPO: how close answers stay to those of the adapter that it starts from.
    Smaller values let them move further."""
    quantization: Quantization = "nf4"
    """The format of the frozen base: `nf4` (4-bit NormalFloat with double quantisation) or `none`
    (unchanged). Runs take the one that the engines serve (`[serving] quantization`), because an
    adapter answers differently on another."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Determines initial weights, order and dropout: equal seeds give equal adapters."""
    why: str = ""
    """The reasons for the defaults, as sentences."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.packing and self.neftune_alpha:
            raise ValueError(
                "packing and neftune_alpha cannot be combined: the noise depends on a pair's length"
            )
        if self.replay_answers == "adapter" and self.references:
            raise ValueError(
                "replay_answers=adapter and references cannot be combined: which references a "
                "replayed question gets changes from pass to pass"
            )
        if self.replay_answers == "adapter" and not self.replay_share:
            raise ValueError(
                "replay_answers=adapter needs a replay_share above 0: nothing is replayed"
            )
        if self.refusal_share + self.reading_share >= 0.9:
            raise ValueError(
                "refusal_share and reading_share leave less than a tenth for the domain's own pairs"
            )
        return self

    @classmethod
    def for_pairs(
        cls,
        pairs: int,
        *,
        base_parameters: int,
        incremental: bool = False,
        max_length: int = 1024,
        served: Quantization = "nf4",
        held_out: bool = True,
        overrides: Mapping[str, Any] | None = None,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """The recipe for `pairs` training pairs (of an incremental run: new ones) on a base of
        `base_parameters` weights that is `served` in that format, with `overrides` from the request
        and values that a search `found`. `held_out`: something is left to measure on during
        training, without which it cannot stop early.

        Raises Invalid, naming each setting that is unknown or out of range."""
        if base_parameters < TINY_BASE:
            chosen, why = _tiny(pairs, incremental)
        else:
            small = base_parameters < SMALL_BASE
            chosen, why = _usual(pairs, incremental, small=small, stops_early=held_out)
        chosen["quantization"] = served
        asked = {**(overrides or {}), **(found or {})}
        if asked.get("learning_rate") == "auto":
            del asked["learning_rate"]
            asked["find_rate"] = True
        if "why" in asked:
            raise Invalid("why cannot be set: it gives the reasons for the defaults.")
        usual = cls.model_validate({"max_length": max_length, **chosen})
        try:
            made = cls.model_validate({"max_length": max_length, **chosen, **asked})
        except ValidationError as error:
            raise Invalid(_describe(error)) from error
        reads = layout.VERSION if made.references else layout.NONE
        made = made.model_copy(update={"layout": reads})
        own = asked.keys() - (found or {}).keys() - {"layout"}
        if made.patience and not held_out:
            why += " Nothing is held out, so there is no early stopping."
        reasons = why + precision_reason(made, served) + asked_for(made, usual, own)
        return made.model_copy(update={"why": reasons})

    def check_servable(self, max_lora_rank: int) -> None:
        """Raises Invalid when the engine could not serve an adapter of this recipe."""
        if not 1 <= self.rank <= MAX_RANK:
            raise Invalid(f"rank is {self.rank}; engines serve ranks from 1 to {MAX_RANK}.")
        self._check_scale()
        if self.dora:
            raise Invalid("dora is on, and the engine cannot serve DoRA adapters. Turn it off.")
        if self.rank > max_lora_rank:
            raise Invalid(
                f"rank is {self.rank}, but this deployment serves at most {max_lora_rank}: "
                "lower it, or raise max_lora_rank under [serving]."
            )
        if isinstance(self.target_modules, tuple):
            if not self.target_modules:
                raise Invalid("target_modules names no module.")
            refused = [n for n in self.target_modules if n.split(".")[-1] in UNSERVED_MODULES]
            if refused:
                raise Invalid(
                    f"target_modules has {refused[0]}, which the engine cannot serve. Leave it "
                    "out: all-linear takes every layer that can be served."
                )

    def _check_scale(self) -> None:
        """Raises Invalid for an alpha with which training would diverge."""
        width = math.sqrt(self.rank) if self.rslora else self.rank
        if self.alpha / width > MAX_SCALE:
            raise Invalid(
                f"alpha is {self.alpha:g} at rank {self.rank}, which multiplies the adapter's "
                f"output by {self.alpha / width:g}, and training would diverge. Usual is one or "
                f"two times the rank; {math.floor(MAX_SCALE * width)} is the most."
            )


def precision_reason(made: Recipe, served: Quantization) -> str:
    """A sentence about the format of the base in a run, and in the engines that serve it."""
    if made.quantization == served == "nf4":
        return " The base is held in NF4 (4 bits), as the engines serve it."
    if made.quantization == served:
        return " The base is not quantised, as the engines serve it."
    held, other = "unquantised", "in NF4"
    if made.quantization == "nf4":
        held, other = other, held
    return (
        f" The base is held {held}, but the engines serve it {other}, so answers can differ from "
        "what was trained. Leave quantization out of the recipe, or change [serving] quantization."
    )


def asked_for(made: Recipe, usual: Recipe, keys: Collection[str]) -> str:
    """` Asked for: epochs=3, rank=8.` for the `keys` that differ from the defaults; '' for none."""
    other = [key for key in sorted(keys) if getattr(made, key) != getattr(usual, key)]
    named = [
        "learning_rate=auto" if key == "find_rate" else f"{key}={plain(getattr(made, key))}"
        for key in other
    ]
    return f" Asked for: {', '.join(named)}." if named else ""


def plain(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(value) if isinstance(value, tuple | list) else str(value)


def check_shape(asked: Mapping[str, Any], shape: Mapping[str, Any], parent: str) -> None:
    """Raises Invalid when `asked` changes the shape of the adapter `parent` that a run continues.
    `shape` holds the known part of its shape. Words such as `mlp`, which stand for other layers in
    each base, are not compared with names of layers."""
    made = Recipe.for_pairs(100, base_parameters=TINY_BASE, overrides=asked)
    for key in SHAPE:
        if key not in asked or key not in shape:
            continue
        wanted, has = getattr(made, key), shape[key]
        if key == "target_modules":
            if isinstance(wanted, str) != isinstance(has, str):
                continue
            wanted, has = (v if isinstance(v, str) else tuple(sorted(v)) for v in (wanted, has))
        if wanted != has:
            raise Invalid(
                f"{key} cannot change in a run that continues {parent} ({plain(has)}). Request a "
                "full run instead (--full)."
            )


def parse(key: str, text: str) -> Any:
    """The value of `key=text` from a command line, as `run.recipe` holds it. Raises Invalid."""
    key = ALIASES.get(key, key)
    if key not in Recipe.model_fields or key == "why":
        raise Invalid(_unknown(key))
    annotation = Recipe.model_fields[key].annotation
    if (key, text) == ("learning_rate", "auto"):
        return text
    try:
        return annotation(text) if annotation in (int, float) else text
    except ValueError:
        kind = "a whole number" if annotation is int else "a number"
        kind += " or auto" if key == "learning_rate" else ""
        raise Invalid(f"{key} takes {kind}, not {text!r}.") from None


def parse_all(given: Collection[str]) -> dict[str, Any]:
    """The values of several `KEY=VALUE`. Raises Invalid."""
    asked = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise Invalid(f"--set takes KEY=VALUE, not {text!r}.")
        named = ALIASES.get(key.strip(), key.strip())
        asked[named] = parse(named, value.strip())
    return asked


def read(file: Path) -> dict[str, Any]:
    """The settings in a recipe file: TOML, or the `recipe.json` of an adapter. Raises Invalid when
    it cannot be read. The settings themselves are checked when a run is requested."""
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise Invalid(f"The recipe {file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Invalid(f"The recipe {file} does not contain settings.")
    found.pop("why", None)  # the reasons of a saved recipe
    return {ALIASES.get(key, key): value for key, value in found.items()}


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raises Invalid for overrides that no recipe accepts or no engine could serve. Called when a
    run is requested, not only when it starts."""
    asked = Recipe.for_pairs(100, base_parameters=TINY_BASE, overrides=overrides)
    asked.check_servable(MAX_RANK)


def _usual(
    pairs: int, incremental: bool, *, small: bool, stops_early: bool
) -> tuple[dict[str, Any], str]:
    """Defaults for a base of normal size, and the reasons. `small`: it has less than a billion
    parameters."""
    ends = "up to {} epochs, early stopping." if stops_early else "{} epochs."
    if small and pairs < MANY:
        chosen, why = _small(pairs, ends)
    elif pairs < FEW:
        chosen = {
            "rank": 8, "alpha": 16, "target_modules": "mlp", "learning_rate": 3e-4,
            "batch_size": 4, "epochs": 8, "dropout": 0.05, "patience": 2, "evaluations": 8,
            "replay_share": 0.4,
        }  # fmt: skip
        why = f"{pairs} pairs are few: a small adapter on the MLPs, {ends.format(8)}"
    elif pairs < MANY:
        chosen = {
            "rank": 16, "alpha": 32, "target_modules": "all-linear", "learning_rate": 2e-4,
            "batch_size": 16, "epochs": 3, "dropout": 0.05, "patience": 3, "evaluations": 9,
            "replay_share": 0.1,
        }  # fmt: skip
        why = f"{pairs:,} pairs: rank 16 on all linear layers, {ends.format(3)}"
    else:
        chosen = {
            "rank": 64, "alpha": 64, "target_modules": "all-linear", "learning_rate": 2e-4,
            "batch_size": 32, "epochs": 2, "dropout": 0.0, "patience": 3, "evaluations": 20,
            "replay_share": 0.05,
        }  # fmt: skip
        why = f"{pairs:,} pairs are many: rank 64 on all linear layers, {ends.format(2)}"
    if incremental:
        chosen["learning_rate"] /= 3
        why += " It continues its parent: a third of the learning rate, old pairs mixed in."
    elif pairs < FEW:
        why += " --folds 5 measures how well it answers other questions."
    return chosen, why


def _small(pairs: int, ends: str) -> tuple[dict[str, Any], str]:
    """Defaults for a base of less than a billion parameters, and the reasons.

    Measured: 60 pairs need six passes. Two passes, 76 steps, are too few for 300 pairs; with 5.3,
    201 steps, they are learned after four. 844 pairs get two fifths of unseen phrasings right after
    two passes, 212 steps. So runs do about 200 steps, and never fewer than three passes."""
    few = pairs < FEW
    epochs = round(min(8.0, max(3.0, 1600 / max(pairs, 1))), 1)
    chosen = {
        "rank": 16, "alpha": 32, "target_modules": "all-linear", "learning_rate": 1e-3,
        "batch_size": 8, "epochs": epochs, "dropout": 0.05, "patience": 2 if few else 3,
        "evaluations": 8 if few else 9, "replay_share": 0.4 if few else 0.1,
    }  # fmt: skip
    why = (
        f"{pairs:,} pairs on a small base: a rate of 1e-3 in steps of 8 pairs, as measured on one "
        f"of 135 million parameters, rank 16 on all linear layers, {ends.format(f'{epochs:g}')}"
    )
    return chosen, why


def _tiny(pairs: int, incremental: bool) -> tuple[dict[str, Any], str]:
    """Defaults for a base of a few million parameters, which has to memorise the pairs."""
    chosen: dict[str, Any] = {"rank": 32, "alpha": 32, "batch_size": 16}
    if incremental:
        epochs = round(min(400.0, max(5.0, 400 / max(pairs, 1))), 1)
        chosen |= {"learning_rate": 1e-3, "epochs": epochs, "max_steps": 60}
        chosen |= {"replay_share": 0.75, "evaluations": 3}
        why = "A tiny base that continues its parent: many epochs of new pairs, old ones mixed in."
    else:
        epochs = round(min(50.0, max(3.0, 10_000 / max(pairs, 1))), 1)
        chosen |= {"learning_rate": 5e-3, "epochs": epochs, "evaluations": 5}
        why = f"A tiny base memorises {pairs:,} pairs: rank 32, a high rate, {epochs:g} epochs."
    return chosen, why


def _describe(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        if not problem["loc"]:  # two values that cannot be combined
            lines.append(problem["msg"].removeprefix("Value error, ") + ".")
            continue
        key = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            lines.append(_unknown(key))
        else:
            lines.append(f"{key} cannot be {problem['input']!r}: {problem['msg'].lower()}.")
    return "The recipe cannot be used. " + " ".join(dict.fromkeys(lines))


def _unknown(key: str) -> str:
    if key in UNSERVED:
        return f"{key} cannot be set: {UNSERVED[key]}."
    known = [name for name in Recipe.model_fields if name != "why"]
    near = difflib.get_close_matches(key, [*known, *ALIASES], n=1)
    meant = f" Did you mean {ALIASES.get(near[0], near[0])}?" if near else ""
    return f"A recipe has no {key!r}.{meant} It has {', '.join(known)}."
