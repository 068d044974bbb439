"""The gate: whether a new adapter may be offered to people.

Four rules, each against the *incumbent*: the live adapter, or the bare base where none is live.

- validation: it must have a lower loss than the bare base on what its run held out (validation and
  probe pairs together); beside a live adapter, which may be as good already, not one that is
  higher by more than the margin, as a share of that adapter's.
- new: beside a live adapter, it must have a lower loss on what that one had not seen.
- golden, replay: its token F1 may not be lower by more than the margin.
- parity: the engines must make the same tokens of a conversation as the trainer, and find its own
  answers likeliest, token by token, near ties aside.

Small sets differ by luck. So "higher" and "lower by more than the margin" are only said where a
paired sign-flip test (Fisher 1935; each question is its own pair) gives so large a difference
less than the chance that the settings allow, were the truth no difference, or just the margin.
Intervals, for people to see, are bootstrapped (Efron 1979): questions are drawn again with
replacement, both models' results together.

A rule that has nothing to be measured on is not failed, and says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config.settings import GateSettings
from tuning.evaluation.eval_sets import Name
from tuning.evaluation.metrics import Loss, mean_loss
from tuning.evaluation.reference_outputs import TIE

DRAWS = 10_000
EXACT_UP_TO = 12  # pairs whose signs are flipped in every way, instead of at random
SEED = 7

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """How a candidate differs from the incumbent on the same questions."""

    n: int
    difference: float  # candidate minus incumbent, of the means
    low: float  # 95% interval
    high: float
    chance: float  # of a difference at least so high, were the truth none (or just the margin)


@dataclass(frozen=True)
class Rule:
    name: str
    passed: bool | None  # None: there was nothing to measure
    sentence: str
    paired: Paired | None = None


@dataclass(frozen=True)
class GateVerdict:
    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        return all(rule.passed is not False for rule in self.rules)

    @property
    def reason(self) -> str:
        """What failed, in sentences; '' when nothing did."""
        return " ".join(rule.sentence for rule in self.rules if rule.passed is False)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": self.passed, "rules": [asdict(rule) for rule in self.rules]}


@dataclass(frozen=True)
class Parity:
    """What an engine said to the trainer's answers."""

    agreement: float | None  # of the tokens, 0 to 1; None: nobody was asked
    tokens: int
    leads: tuple[float | None, ...] = ()  # of tokens that differ: the engine's over the trainer's
    refused: str = ""  # why no engine can serve the adapter, '' when one does
    not_asked: str = ""  # why nobody was asked
    rendered: str = ""  # how an engine makes other tokens of a conversation; '' when none does

    @property
    def ties(self) -> int:
        """Tokens that differ where the engine can hardly tell the two apart."""
        return sum(lead is not None and lead < TIE for lead in self.leads)

    @property
    def agreed(self) -> float:
        """The share of the tokens that the engine finds likeliest, without near ties, 0 to 1."""
        counted = self.tokens - self.ties
        return round((self.agreement or 0.0) * self.tokens) / counted if counted else 1.0


def validation(
    own: Sequence[Loss],
    other: Sequence[Loss],
    baseline: str,
    *,
    live: bool,
    margin: float,
    chance: float,
) -> Rule:
    """Better than the bare base, or not worse than a live adapter, on what the run held out."""
    if not own:
        return Rule("validation", None, "The run held nothing out to validate on.")
    allowed = margin * mean_loss(other) if live else 0.0
    found = paired_losses(own, other, allowed)
    figures = _loss_words(found, baseline)
    if live:
        passed = found.difference <= allowed or found.chance >= chance
        wanted = "is higher than the live adapter's"
        if passed:
            wanted = "is no higher than " + _may_be(found.difference <= allowed)
        figures += f"; {allowed:.3f} more are allowed"
    else:
        passed = found.difference < 0
        wanted = "is lower" if passed else "is not lower than the bare base's"
    return Rule("validation", passed, f"The validation loss {wanted}: {figures}.", found)


def new(own: Sequence[Loss], other: Sequence[Loss], baseline: str) -> Rule:
    """Learned what it was trained for."""
    if not own:
        return Rule("new", None, "There was nothing that the live adapter had not seen.")
    found = paired_losses(own, other)
    passed = found.difference < 0
    wanted = "was learned" if passed else "was not learned"
    return Rule("new", passed, f"What is new {wanted}: {_loss_words(found, baseline)}.", found)


def not_worse(
    name: str,
    own: Sequence[float],
    other: Sequence[float],
    baseline: str,
    *,
    margin: float,
    chance: float,
) -> Rule:
    """Of golden or replay questions: token F1 for token F1."""
    if not own:
        return Rule(name, None, f"There are no {name} questions.")
    lost = paired(other, own, allowed=margin)
    found = Paired(lost.n, -lost.difference, -lost.high, -lost.low, lost.chance)
    passed = lost.difference <= margin or lost.chance >= chance
    figures = (
        f"token F1 {_signed(found.difference)} beside {baseline} on {_questions(found)} "
        f"(95%: {_signed(found.low)} to {_signed(found.high)}; {margin:g} less is allowed)"
    )
    verdict = "It is worse"
    if passed:
        verdict = "It is no worse than " + _may_be(lost.difference <= margin)
    return Rule(name, passed, f"{verdict} on {name} questions: {figures}.", found)


def parity(found: Parity, *, least: float) -> Rule:
    """Served as it was trained. Tokens that differ where the engine can hardly tell the two apart
    are rounding, as the trainer's own near ties are, and left out; luck is no excuse here."""
    if found.refused:
        return Rule("parity", False, f"No engine can serve it: {found.refused}")
    if found.rendered:
        return Rule("parity", False, found.rendered)
    if found.agreement is None:
        why = found.not_asked or "there were no probes"
        return Rule("parity", None, f"No engine was asked for parity: {why}.")
    ties, shown = found.ties, math.floor(found.agreed * 1000) / 10  # never up to what is wanted
    left_out = f"; {ties} more {'is a near tie' if ties == 1 else 'are near ties'}" if ties else ""
    return Rule(
        "parity",
        found.agreed >= least,
        f"The engine agrees with the trainer on {shown:.1f}% of {found.tokens - ties} tokens (at "
        f"least {100 * least:g}% wanted{left_out}).{_leads(found.leads)}",
    )


def _leads(leads: Sequence[float | None]) -> str:
    """How sure the engine was of its own tokens: near ties are rounding, others are not."""
    told = sorted(lead for lead in leads if lead is not None)
    words = []
    if told:
        by = f"{told[0]:.2f} nats"
        if len(told) > 1:
            by = f"{told[0]:.2f} to {told[-1]:.2f} nats ({told[len(told) // 2]:.2f} in the middle)"
        words.append(f" Where they differ, the engine finds its own token likelier by {by}.")
    if far := len(leads) - len(told):
        what = "tokens is" if far == 1 else "tokens are"
        words.append(f" {far} of the trainer's {what} not among its likeliest.")
    return "".join(words)


def evaluate_gate(
    settings: GateSettings,
    losses: Mapping[Name, tuple[Sequence[Loss], Sequence[Loss]]],
    f1: Mapping[Name, tuple[Sequence[float], Sequence[float]]],
    baseline: str,
    served: Parity,
    *,
    live: bool,
    withheld: int = 0,
) -> GateVerdict:
    """Apply all rules. `losses` and `f1` hold, by set, the candidate's and the incumbent's
    results question by question; `incumbent` is its name, `live` whether it is an adapter;
    `withheld` counts the replay questions that the run held out."""
    chance = settings.chance

    def loss(name: Name) -> tuple[Sequence[Loss], Sequence[Loss]]:
        return losses.get(name, ((), ()))

    def overlap(name: Name) -> Rule:
        own, other = f1.get(name, ((), ()))
        return not_worse(name, own, other, baseline, margin=settings.margin, chance=chance)

    mine, theirs = ((*a, *b) for a, b in zip(loss("validation"), loss("probe"), strict=True))
    rules = [
        validation(
            mine, theirs, baseline, live=live, margin=settings.margin, chance=settings.chance
        ),
        overlap("golden"),
    ]
    if live:
        own, other = loss("new")
        replay = overlap("replay")
        if withheld and replay.passed is False:
            replay = replace(replay, sentence=replay.sentence + _withheld(withheld, baseline))
        rules += [new(own, other, baseline), replay]
    return GateVerdict((*rules, parity(served, least=settings.parity)))


def paired(own: Sequence[float], other: Sequence[float], allowed: float = 0.0) -> Paired:
    """Compare results question by question. At least one question."""
    return _paired(np.asarray(own, float), np.asarray(other, float), np.ones(len(own)), allowed)


def paired_losses(own: Sequence[Loss], other: Sequence[Loss], allowed: float = 0.0) -> Paired:
    """As `paired`, every token of the expected answers weighing the same."""
    weights = np.array([loss.tokens for loss in own], float)
    return _paired(
        np.array([loss.nats for loss in own]) / weights,
        np.array([loss.nats for loss in other]) / weights,
        weights,
        allowed,
    )


def _paired(own: Numbers, other: Numbers, weights: Numbers, allowed: float) -> Paired:
    random = np.random.default_rng(SEED)
    shares = weights / weights.sum()
    differences = own - other
    mean = float(differences @ shares)
    drawn = random.integers(0, len(own), (DRAWS, len(own)))
    means = (differences * weights)[drawn].sum(1) / weights[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    flipped = _signs(len(own), random) @ ((differences - allowed) * shares)
    # an observed difference is one of those that chance gives: so the rounding
    chance = float((flipped >= mean - allowed - 1e-12).mean())
    return Paired(len(own), mean, float(low), float(high), chance)


def _signs(n: int, random: np.random.Generator) -> Numbers:
    """Rows of +1 and -1: all there are, or the observed one and `DRAWS` at random."""
    if n <= EXACT_UP_TO:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return bits * 2.0 - 1.0
    drawn = random.integers(0, 2, (DRAWS, n)) * 2.0 - 1.0
    return np.vstack([np.ones(n), drawn])  # the observed one, so that no chance is nought


def _signed(value: float) -> str:
    """Never minus nothing."""
    return f"{round(value, 3) + 0.0:+.3f}"


def _may_be(allowed: bool) -> str:
    """Why what passes does: the margin allows it, or luck on so few questions explains it."""
    return "it may be" if allowed else "chance explains"


def _withheld(count: int, baseline: str) -> str:
    """A full run holds out anew, perhaps what a smaller domain could not spare."""
    which = "1 of them" if count == 1 else f"{count} of them"
    return (
        f" This run held {which} out to measure on, and {baseline} was trained on them; a run "
        "without --full goes on from what it knows."
    )


def _questions(found: Paired) -> str:
    return "1 question" if found.n == 1 else f"{found.n} questions"


def _loss_words(found: Paired, baseline: str) -> str:
    return (
        f"{_signed(found.difference)} nats a token beside {baseline} on {_questions(found)} "
        f"(95%: {_signed(found.low)} to {_signed(found.high)})"
    )
