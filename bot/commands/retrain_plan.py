"""What a retrain would do, without doing it: the dry run in Slack and on the command line."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.registry import Adapter
from data.bases import language_fit
from data.config import base_precision
from data.config.settings import Settings
from data.domains import Domain
from data.gpu import plans
from data.pairs import current_answers, datasets, pairs
from data.pairs.pairs import Pair, normalise
from data.quality import token_counts, unusable
from data.quality.unusable import Unusable
from data.runs import method_choice, runs
from data.runs.methods import (
    AUTO,
    DEFAULT,
    KEY,
    METHODS,
    WHY,
    Judgements,
    Learns,
    Method,
    MethodName,
    method_of,
    refuse_unsupported,
)
from data.store.db import rows
from data.store.errors import Conflict, Invalid

if TYPE_CHECKING:
    from tuning.recipe.recipe import Recipe

SHOWN_PAIRS = 3  # older answers and unusable pairs that are named; all are counted
SHORT = 80  # characters of a text that is quoted
SHOWN = ("rank", "learning_rate", "batch_size", "epochs", "replay_share", "max_steps")


@dataclass(frozen=True)
class OlderAnswer:
    """An answer that a run does not learn, because a newer pair answers the question or states the
    fact otherwise."""

    question: str
    pair_id: int
    answer: str
    newer_pair_id: int
    newer_answer: str


@dataclass(frozen=True)
class RetrainPlan:
    """A run that nobody has requested yet."""

    domain: str
    parent: str | None  # the adapter that it continues; None: it starts from the base model
    learns: Learns
    new: int  # approved pairs that the parent was not trained on, or rated answers
    held_out: int  # of these, held out for evaluation
    known: int  # pairs that the parent was trained on
    pending: int  # pairs that wait for review and would not be trained
    recipe: dict[str, Any]  # the main values and the requested ones; on judgements, only these
    why: str  # the reason for them
    steps: int | None  # approximate number of optimiser steps
    nothing_new: bool
    trainings: int = 0  # of a sweep or cross-validation before the run; 0: none
    language: str = ""  # whether the base suits the pairs' language; '' if it does, or is unknown
    search: str = ""  # the same for the encoder; '' where nobody asked
    method: MethodName = DEFAULT
    method_why: str = ""  # why the method was chosen; '' if the request named it
    judged: int = 0  # judgements that are learned after the pairs
    older: tuple[OlderAnswer, ...] = ()  # the first `SHOWN_PAIRS`
    older_total: int = 0
    unusable: tuple[Unusable, ...] = ()  # pairs with which the run would fail, the first ones
    unusable_total: int = 0


def check(asked: dict[str, Any], *, full: bool, parent: Adapter | None) -> None:
    """Raises Invalid for a run that would be impossible, before it is requested. A run that is
    not full continues `parent`."""
    method = None if asked.get(KEY) == AUTO else method_of(asked)
    if full and method is not None and method.needs_adapter:
        raise Invalid(
            f"A full run starts from the base model, and {method.title} continues the live "
            "adapter. Choose one of them."
        )
    if not asked:
        return
    if WHY in asked:
        raise Invalid(f"{WHY} cannot be set: it says why a method was chosen.")
    from tuning.recipe import recipe, search_space  # light, but not every front end needs it

    search_space.check(asked)
    if method is not None:
        refuse_unsupported(method, asked)
    for changes in search_space.search_space_of(asked).points or [{}]:
        wanted = search_space.overrides(asked) | changes
        if parent is not None and not full:
            shape = {"rank": parent.rank, **parent.recipe}
            recipe.check_shape(wanted, shape, parent.name)
        else:
            _refuse_retention(wanted)


def _refuse_retention(wanted: Mapping[str, Any]) -> None:
    """Raises Invalid for settings that keep what an adapter knows, in a run that continues none."""
    own = wanted.get("replay_answers") == "adapter"
    name = "replay_answers=adapter" if own else "ewc" if wanted.get("ewc") else ""
    if name:
        raise Invalid(
            f"{name} keeps what the live adapter knows, and this run starts from the base model. "
            "Leave it out of full runs, and of the first run of a domain."
        )


def chosen(
    db: Database, domain: Domain, parent: Adapter | None, asked: dict[str, Any]
) -> dict[str, Any]:
    """The request with the method that `auto` stands for now. Raises Invalid if it has a setting
    that this method cannot use."""
    found = method_choice.resolved(db, domain, parent, asked)
    try:
        refuse_unsupported(method_of(found), found)
    except Invalid as error:
        if WHY not in found:
            raise
        raise Invalid(f"{error} {found[WHY]} Name another one with `method`.") from error
    return found


def plan(
    db: Database,
    settings: Settings,
    domain: Domain,
    *,
    full: bool = False,
    overrides: dict[str, Any] | None = None,
) -> RetrainPlan:
    """What a retrain would do now. `overrides` are those of a run: of the recipe, and a search.
    Raises Conflict if no run could be requested, Invalid for overrides that no run takes,
    Unavailable when the base is not on this machine."""
    from tuning.recipe import search_space as recipe_search_space

    asked = overrides or {}
    live = registry.live(db, domain.id)
    check(asked, full=full, parent=live)
    tried = recipe_search_space.search_space_of(asked)
    newest = runs.recent(db, domain, limit=1)
    if newest and newest[0].open:
        raise Conflict(f"Run {newest[0].id} of {domain.name} is already {newest[0].state}.")
    parent = None if full else live
    asked = chosen(db, domain, parent, asked)
    method = method_of(asked)
    method_why = str(asked.get(WHY, ""))
    if method.learns == "preferences":
        found = _on_judgements(db, domain, method, parent, method_why)
        wanted = recipe_search_space.overrides(asked).items()
        return replace(found, recipe={name: given for name, given in wanted if name != KEY})
    judged = 0
    if method.judgements is not None:
        method_choice.check(db, domain, method.judgements)
        judged = method_choice.count(db, domain, method.judgements)
    counted = _counted(db, domain, parent, hold_out=not tried.folds)
    new, held_out, known = counted.new, counted.held_out, counted.known
    recipe, steps = _recipe(
        settings,
        parent,
        counted,
        recipe_search_space.overrides(asked),
        measured=bool(parent or tried.folds or counted.measured),
    )
    fit = language_fit.of_domain(db, domain.id, settings)
    faulty = unusable_pairs(db, settings, domain, recipe.max_length)
    return RetrainPlan(
        domain=domain.name,
        parent=parent.name if parent else None,
        learns="pairs",
        new=new,
        held_out=held_out,
        known=known,
        pending=pairs.counts(db, domain)["pending"],
        recipe=_main_values(recipe, recipe_search_space.overrides(asked), parent),
        why=recipe.why,
        steps=steps,
        nothing_new=new == held_out,
        trainings=len(tried.trials) if tried else 0,
        language=fit.sentence(domain.name) if fit is not None and not fit.suits else "",
        method=method.name,
        method_why=method_why,
        judged=judged,
        older=tuple(counted.older[:SHOWN_PAIRS]),
        older_total=len(counted.older),
        unusable=tuple(faulty[:SHOWN_PAIRS]),
        unusable_total=len(faulty),
    )


def unusable_pairs(
    db: Database, settings: Settings, domain: Domain, max_length: int | None = None
) -> list[Unusable]:
    """The approved pairs with which a run fails. `max_length` is that of its recipe. None where the
    base is not on this machine."""
    around = token_counts.of_base(settings, domain, max_length)
    return unusable.find(pairs.list_pairs(db, domain, "approved"), around)


def describe_unusable(name: str, found: Sequence[Unusable], total: int) -> str:
    """Why a run would fail; '' if it would not."""
    if not total:
        return ""
    which = "; ".join(f"pair {one.pair_id}: {one.sentence}" for one in found)
    more = f"; and {total - len(found):,} more" if total > len(found) else ""
    them = "it" if total == 1 else "them"
    return (
        f"The run would fail, because it cannot learn {total:,} pair{'s' if total > 1 else ''}: "
        f"{which}{more}. `understudy pairs check {name} --fix` puts {them} in quarantine."
    )


def older_answers(db: Database, domain: Domain, *, full: bool = False) -> list[OlderAnswer]:
    """The older answers that a retrain would replace by newer ones: all in a full one, otherwise
    those that are new to the live adapter."""
    live = None if full else registry.live(db, domain.id)
    return _older(pairs.list_pairs(db, domain, "approved"), _known_to(db, live))


def describe_older(older: Sequence[OlderAnswer], total: int) -> list[str]:
    """Which answers count, one sentence each."""
    if not total:
        return []
    some = "One older answer is" if total == 1 else f"{total:,} older answers are"
    more = f" The first {len(older)}:" if total > len(older) else ""
    return [
        f"{some} not learned, because newer pairs say otherwise.{more}",
        *(
            f"{_quoted(one.question)}: pair {one.newer_pair_id} says {_quoted(one.newer_answer)}, "
            f"pair {one.pair_id} said {_quoted(one.answer)}."
            for one in older
        ),
    ]


def describe(found: RetrainPlan) -> list[str]:
    """The plan in a few sentences, the same in Slack and on the command line."""
    start = f"continue {found.parent}" if found.parent else "start from the base model"
    chosen_by = [found.method_why] if found.method_why else []
    learned = JUDGED[METHODS[found.method].judgements or "ratings"]
    if found.learns == "preferences":
        asked = ", ".join(_value(*one) for one in found.recipe.items())
        return [
            f"A retrain of {found.domain} on {learned.by} would {start} and train on {found.new} "
            f"{learned.of}.",
            *([f"Asked for: {asked}. The rest is decided when it runs."] if asked else []),
            *chosen_by,
        ]
    if found.nothing_new:
        nothing = f"A retrain of {found.domain} would do nothing: there are no new approved pairs."
        return [nothing, *chosen_by]
    held_out = f" ({found.held_out} of them held out for evaluation)" if found.held_out else ""
    no_ceiling = ("max_steps", 0)
    values = ", ".join(_value(*one) for one in found.recipe.items() if one != no_ceiling)
    said = [
        f"A retrain of {found.domain} would {start} and train on {found.new} new approved "
        f"pairs{held_out} in about {found.steps} steps.",
        f"Recipe: {values}.",
        f"Reason: {found.why}",
    ]
    if found.trainings:
        said.append(
            f"To choose the values, it would first train {found.trainings} times, each about as "
            "long."
        )
    if found.judged:
        said.append(f"Then it would learn from {found.judged} {learned.of} ({learned.loss}).")
    said += chosen_by
    said += describe_older(found.older, found.older_total)
    failing = describe_unusable(found.domain, found.unusable, found.unusable_total)
    return [*said, *(text for text in (failing, found.language, found.search) if text)]


@dataclass(frozen=True)
class _JudgementWords:
    by: str
    of: str
    loss: str


JUDGED: dict[Judgements, _JudgementWords] = {
    "ratings": _JudgementWords("ratings", "rated answers", "KTO"),
    "preferences": _JudgementWords("better answers", "answers with a better one", "DPO"),
}


def _main_values(recipe: "Recipe", asked: dict[str, Any], parent: Adapter | None) -> dict[str, Any]:
    """The main values of the recipe, and the requested ones."""
    keys = dict.fromkeys([*SHOWN, *(key for key in asked if key != "find_rate")])
    values = {key: value for key, value in recipe.model_dump(mode="json").items() if key in keys}
    if parent is None:
        values.pop("replay_share", None)
    return values | ({"learning_rate": "auto"} if recipe.find_rate else {})


def _value(name: str, given: object) -> str:
    from tuning.recipe.recipe import plain

    return f"{name.replace('_', ' ')} {plain(given)}"


def _on_judgements(
    db: Database, domain: Domain, method: Method, parent: Adapter | None, method_why: str
) -> RetrainPlan:
    """A run only on people's judgements. Its recipe is decided when it runs."""
    if parent is None and method.needs_adapter:
        raise Conflict(runs.no_adapter(domain))
    judgements = method.judgements or "ratings"
    method_choice.check(db, domain, judgements)
    return RetrainPlan(
        domain=domain.name,
        parent=parent.name if parent else None,
        learns=method.learns,
        new=method_choice.count(db, domain, judgements),
        held_out=0,
        known=0,
        pending=0,
        recipe={},
        why="",
        steps=None,
        nothing_new=False,
        method=method.name,
        method_why=method_why,
    )


@dataclass(frozen=True)
class _Counts:
    new: int  # pairs
    held_out: int  # of these, golden ones included
    known: int  # pairs that the parent was trained on
    measured: int  # held-out pairs whose loss is measured during training
    older: list[OlderAnswer]  # that are not learned


def _counted(db: Database, domain: Domain, parent: Adapter | None, *, hold_out: bool) -> _Counts:
    """The pairs that a run would have. A pair that was held out from the parent is new if it would
    be trained now."""
    approved = pairs.list_pairs(db, domain, "approved")
    parts = datasets.split(approved, domain.validation_share, hold_out=hold_out)
    seen: set[int] = set()
    if parent is not None and parent.dataset_id is not None:
        sql = "SELECT pair_id, split FROM dataset_pairs WHERE dataset_id = ?"
        found = rows(db, sql, [parent.dataset_id])
        seen = {
            r["pair_id"]
            for r in found
            if r["split"] == "train" or parts.get(r["pair_id"]) != "train"
        }
    new = [pair.id for pair in approved if pair.id not in seen]
    trained = [pair_id for pair_id in new if parts[pair_id] == "train"]
    known = sum(parts[pair.id] == "train" for pair in approved if pair.id in seen)
    measured = sum(part in ("validation", "probe") for part in parts.values())
    older = _older(approved, _known_to(db, parent))
    return _Counts(len(new), len(new) - len(trained), known, measured, older)


def _known_to(db: Database, parent: Adapter | None) -> set[int]:
    """The pairs that the adapter was trained on."""
    if parent is None or parent.dataset_id is None:
        return set()
    sql = "SELECT pair_id FROM dataset_pairs WHERE dataset_id = ? AND split = 'train'"
    return {found["pair_id"] for found in rows(db, sql, [parent.dataset_id])}


def _older(approved: Sequence[Pair], known: Collection[int]) -> list[OlderAnswer]:
    """The answers that are replaced by those of pairs that are not `known`, the newest first."""
    replaced_by = current_answers.current_pairs(approved).replaced_by
    replaced = [(pair, replaced_by[pair.id]) for pair in approved if pair.id in replaced_by]
    return [
        OlderAnswer(old.prompt, old.id, old.response, new.id, new.response)
        for old, new in sorted(replaced, key=lambda one: (-one[1].id, one[0].id))
        if new.id not in known and normalise(old.response) != normalise(new.response)
    ]


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= SHORT else line[: SHORT - 1] + '…'}”"


def _recipe(
    settings: Settings,
    parent: Adapter | None,
    counted: _Counts,
    overrides: dict[str, Any] | None,
    *,
    measured: bool,
) -> "tuple[Recipe, int]":
    """The recipe for the new pairs, and the approximate number of steps; each pass of an
    incremental run has old pairs mixed in, as `tuning/data/replay.py` does it. `measured`: whether
    the run has something to measure on."""
    from tuning.recipe.recipe import Recipe  # light, but not every front end needs it

    new, known = counted.new - counted.held_out, counted.known
    recipe = Recipe.for_pairs(
        new,
        base_parameters=plans.base_shape(settings).parameters,
        incremental=parent is not None,
        max_length=settings.serving.max_model_len,
        served=base_precision.quantization(settings),
        held_out=measured,
        overrides=overrides,
    )
    recipe.check_servable(settings.serving.rank_limit)
    in_a_pass = new
    if parent is not None and new:
        share = recipe.replay_share
        in_a_pass *= max(1, math.ceil(recipe.batch_size * (1 - share) / new)) if known else 1
        in_a_pass += min(known, round(in_a_pass * share / (1 - share)))
    steps = max(1, round(math.ceil(in_a_pass / recipe.batch_size) * recipe.epochs))
    return recipe, min(steps, recipe.max_steps) if recipe.max_steps else steps
