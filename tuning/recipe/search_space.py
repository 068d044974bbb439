"""The search space of a run: the points and folds of a search, and the trials that they make.

`sweep` lists several values for settings of the recipe; each combination is a point. With `folds`,
each point is trained several times, each time without one part of the facts, which it is then
measured on (k-fold cross-validation: Stone 1974,
https://doi.org/10.1111/j.2517-6161.1974.tb00994.x; all phrasings of a fact are in one fold). One
training is a trial.

Both are keys of `run.recipe` next to the settings of the recipe, so a file may hold them too.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.bases import folders
from data.runs import methods
from data.store.errors import Invalid
from tuning.recipe import recipe

SWEEP, FOLDS, LICENCE = "sweep", "folds", "accept_licence"
KEYS = (
    SWEEP,
    FOLDS,
    LICENCE,
    folders.ASKED,
    methods.WHY,
)  # of `run.recipe`, in addition to those of a recipe
MAX_TRIALS = 64  # of a run


@dataclass(frozen=True)
class TrialSpec:
    """One training of a search."""

    number: int  # from 1
    changes: dict[str, Any]  # of the recipe
    fold: int | None  # the part that is held out, from 0; None: the normal validation set


@dataclass(frozen=True)
class SearchSpace:
    axes: dict[str, list[Any]]
    folds: int  # 0: none

    def __bool__(self) -> bool:
        return bool(self.axes or self.folds)

    @property
    def points(self) -> list[dict[str, Any]]:
        """The changes of each point, in the order of the request."""
        combined = itertools.product(*self.axes.values())
        return [dict(zip(self.axes, values, strict=True)) for values in combined]

    @property
    def trials(self) -> list[TrialSpec]:
        folds: list[int | None] = list(range(self.folds)) or [None]
        every = [(changes, fold) for changes in self.points for fold in folds]
        return [TrialSpec(i, changes, fold) for i, (changes, fold) in enumerate(every, start=1)]


def search_space_of(asked: Mapping[str, Any]) -> SearchSpace:
    """The search that `run.recipe` asks for. Raises Invalid."""
    folds = asked.get(FOLDS, 0)
    if not isinstance(folds, int) or isinstance(folds, bool) or folds == 1 or not 0 <= folds <= 20:
        raise Invalid(f"folds is {folds!r}; it must be a whole number from 2 to 20.")
    given = asked.get(SWEEP, {})
    if not isinstance(given, Mapping):
        raise Invalid("sweep must be settings of the recipe, each with a list of values.")
    axes = {recipe.ALIASES.get(str(k), str(k)): _values(k, v) for k, v in given.items()}
    return SearchSpace(axes, folds)


def overrides(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Only the settings of the recipe."""
    return {key: value for key, value in asked.items() if key not in KEYS}


def check(asked: Mapping[str, Any]) -> None:
    """Raises Invalid for a search that no run could do. Called when a run is requested."""
    search, plain = search_space_of(asked), overrides(asked)
    both = [key for key in search.axes if key in plain]
    if both:
        raise Invalid(f"{both[0]} is both set and swept.")
    if methods.WHY in asked:
        raise Invalid(f"{methods.WHY} cannot be set: it says why a method was chosen.")
    if methods.KEY in search.axes:
        raise Invalid("method cannot be swept: the losses of different methods do not compare.")
    if "auto" in search.axes.get("learning_rate", []):
        raise Invalid(
            "A sweep compares learning rates itself: it cannot include learning_rate=auto."
        )
    if len(search.trials) > MAX_TRIALS:
        raise Invalid(
            f"That would be {len(search.trials)} trials, and a run does at most {MAX_TRIALS}."
        )
    for changes in search.points or [{}]:
        recipe.check_overrides(plain | changes)


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """`rank=8,16` -> ("rank", [8, 16]). Raises Invalid."""
    key, sign, values = text.partition("=")
    named = recipe.ALIASES.get(key.strip(), key.strip())
    if not sign or not values.strip():
        raise Invalid(f"A sweep is written KEY=VALUE,VALUE…, not {text!r}.")
    return named, [recipe.parse(named, value.strip()) for value in values.split(",")]


def folds_of(facts: Sequence[str], folds: int) -> dict[str, int]:
    """Fact -> fold, as evenly as possible: facts in the order of their hashes, in rotation."""
    distinct = sorted(set(facts), key=_order)
    return {fact: i % folds for i, fact in enumerate(distinct)}


def _order(fact: str) -> bytes:
    return hashlib.sha256(fact.encode("utf-8", "surrogatepass")).digest()


def _values(key: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise Invalid(f"The sweep over {key} must be a list of values.")
    if len({repr(value) for value in values}) < len(values):
        raise Invalid(f"The sweep over {key} has a value twice.")
    return values
