"""The tuning methods: what each learns from, and what a run of it requires.

A run's method is the setting `method` of its recipe. This table is all that the queue and the front
ends know about methods; how each one trains is in `tuning/training/methods.py`. CONTRIBUTING.md
says how to add one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from data.store.errors import Invalid

MethodName = Literal["sft", "kto", "dpo", "sft+kto", "sft+dpo"]
Learns = Literal["pairs", "preferences"]  # approved pairs, or only people's judgements of answers
Judgements = Literal["ratings", "preferences"]  # rated answers, or pairs of answers
KEY = "method"  # of a recipe
AUTO = "auto"  # a request's method that is chosen from what there is (`method_choice.py`)
WHY = "method_why"  # of a run's recipe: why the method was chosen


@dataclass(frozen=True)
class Method:
    name: MethodName
    title: str
    learns: Learns  # stored as `runs.learns`
    judgements: Judgements | None = None  # which ones it learns from, after pairs if it learns any
    needs_adapter: bool = False  # it continues the live adapter, and cannot start from the base
    unsupported: tuple[str, ...] = ()  # settings that it cannot use


# settings that a run on judgements alone cannot use
ONLY_PAIRS = (
    "sweep", "folds", "packing", "learning_rate=auto", "ewc", "replay_answers=adapter",
)  # fmt: skip

METHODS: dict[MethodName, Method] = {
    method.name: method
    for method in (
        Method("sft", "supervised fine-tuning on approved pairs", "pairs"),
        Method(
            "kto",
            "KTO on rated answers",
            "preferences",
            judgements="ratings",
            needs_adapter=True,
            unsupported=ONLY_PAIRS,
        ),
        Method(
            "dpo",
            "DPO on answers and better ones",
            "preferences",
            judgements="preferences",
            needs_adapter=True,
            unsupported=ONLY_PAIRS,
        ),
        Method(
            "sft+kto",
            "supervised fine-tuning, then KTO",
            "pairs",
            judgements="ratings",
            unsupported=("sweep", "folds"),
        ),
        Method(
            "sft+dpo",
            "supervised fine-tuning, then DPO",
            "pairs",
            judgements="preferences",
            unsupported=("sweep", "folds"),
        ),
    )
}
DEFAULT: MethodName = "sft"
PREFERENCES: MethodName = "kto"  # what `--preferences` means


def method_of(recipe: Mapping[str, Any], learns: Learns = "pairs") -> Method:
    """The method that a recipe asks for. The recipe of an older run may name none; then `learns`
    decides. Raises Invalid for an unknown method."""
    name = recipe.get(KEY, PREFERENCES if learns == "preferences" else DEFAULT)
    if name not in METHODS:
        raise Invalid(f"method is {name!r}; it takes {', '.join(METHODS)} or {AUTO}.")
    return METHODS[cast("MethodName", name)]


def as_asked(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What was requested: a run's recipe holds the method that was chosen for `auto`, and why."""
    given = dict(recipe)
    return given | {KEY: AUTO} if given.pop(WHY, None) else given


def with_preferences(recipe: Mapping[str, Any] | None, preferences: bool) -> dict[str, Any]:
    """The recipe of a request with the flag `preferences`, which stands for `method = "kto"`.
    Raises Invalid when the recipe asks for another method."""
    given = dict(recipe or {})
    if not preferences:
        return given
    if given.get(KEY, PREFERENCES) != PREFERENCES:
        raise Invalid(
            f"preferences stands for the method {PREFERENCES}, and the recipe asks for "
            f"{given[KEY]}. Choose one of them."
        )
    return given | {KEY: PREFERENCES}


def refuse_unsupported(method: Method, recipe: Mapping[str, Any]) -> None:
    """Raises Invalid when the recipe has a setting that the method cannot use."""
    auto = recipe.get("find_rate") or recipe.get("learning_rate") == "auto"
    own = recipe.get("replay_answers") == "adapter"
    given = {**recipe, "learning_rate=auto": auto, "replay_answers=adapter": own}
    name = next((key for key in method.unsupported if given.get(key)), None)
    if name is not None:
        raise Invalid(f"{name} cannot be used with the method {method.name} ({method.title}).")
