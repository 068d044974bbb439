"""The gate: the rules that a new adapter must pass before people can get it.

The rules compare the adapter with a *baseline*: the live adapter, or the bare base if none is live.

- training: its loss on a sample of its training pairs must be lower than that of the bare base. A
  run that diverged fails this rule, also where nothing is held out.
- readable: its answers must be text. A base model that cannot write a language produces broken
  characters, and a run that diverged empty answers or one piece repeated to the end.
- validation: its loss on held-out pairs (validation and probe together) must be lower than that of
  the bare base. A live adapter may be as good already, so compared with one, the loss must not be
  higher by more than the margin, as a share of the live adapter's loss.
- new: compared with a live adapter, its loss on pairs that are new to that one must be lower.
- golden, replay: its token F1 must not be lower by more than the margin.
- right: it answers at least the share of the golden questions right that the settings require.
- repeats: it must repeat at least the share of its own training pairs that the settings require,
  and without broken characters.
- old_facts: compared with a live adapter, it must not answer fewer questions right about old facts
  in other words, in conversations, or asked again.
- search: it should answer golden questions right as often as the nearest approved answer does,
  which needs no adapter. It must, if the settings require it.
- people: a run on people's judgements must not follow one person at the cost of the others
  (`leave_one_out.py`).
- parity: the engines must encode a conversation as the same tokens as the trainer, and find the
  trainer's answers likeliest, token by token, except for near ties.

Results on small sets vary by chance. So a difference counts as "higher", or as "lower by more than
the margin", only if it is significant in a paired sign-flip test (Fisher 1935; each question is its
own pair), with no difference or exactly the margin as the null hypothesis and the significance
level of the settings. The confidence intervals are bootstrapped (Efron 1979): questions are
resampled with replacement, with the results of both models together.

A rule without anything to measure does not fail, and says so. An adapter that only the rules in
`UNCOMPARED` measured is not called good: `GateVerdict.measured` is false.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import base_precision
from data.config.settings import GateSettings
from tuning.evaluation import metrics
from tuning.evaluation.eval_sets import SetName
from tuning.evaluation.metrics import GeneratedAnswer, Loss, mean_loss
from tuning.evaluation.reference_outputs import TIE

DRAWS = 10_000
EXACT_UP_TO = 12  # pairs; with more, signs are flipped at random instead of in every way
SEED = 7
UNREADABLE_SHARE = 0.05  # of the answers that may be no text
# rules that do not tell how well it answers
UNCOMPARED = ("training", "readable", "repeats", "parity", "people")
UNKNOWN = "There was nothing to measure it on, so nothing shows that it is good."

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """The difference of candidate and baseline on the same questions."""

    n: int
    difference: float  # of the means: candidate minus baseline
    low: float  # 95% interval
    high: float
    chance: float  # p-value: of a difference at least this high under the null hypothesis


@dataclass(frozen=True)
class Rule:
    name: str
    passed: bool | None  # None: nothing to measure
    sentence: str
    paired: Paired | None = None


@dataclass(frozen=True)
class GateVerdict:
    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        """Whether no rule failed, and at least one had something to measure."""
        found = [rule.passed for rule in self.rules]
        return False not in found and True in found

    @property
    def measured(self) -> bool:
        """Whether questions that it was not trained on, or the live adapter, were compared."""
        return any(r.passed is not None for r in self.rules if r.name not in UNCOMPARED)

    @property
    def reason(self) -> str:
        """Why it failed; '' if it passed."""
        if all(rule.passed is None for rule in self.rules):
            return UNKNOWN
        return " ".join(rule.sentence for rule in self.rules if rule.passed is False)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        rules = [asdict(rule) for rule in self.rules]
        return {"passed": self.passed, "measured": self.measured, "rules": rules}


@dataclass(frozen=True)
class Parity:
    """How an engine's tokens compare with the trainer's."""

    agreement: float | None  # share of the tokens, 0 to 1; None: not measured
    tokens: int
    leads: tuple[float | None, ...] = ()  # of different tokens: engine's over trainer's, in nats
    refused: str = ""  # why no engine can serve the adapter, '' when one does
    differs: bool = False  # it is refused because it answers differently than after training
    not_asked: str = ""  # why it was not measured
    rendered: str = ""  # how an engine encodes a conversation differently; '' if none does
    trained_in: str = ""  # precision of the base in training: nf4, bfloat16, ...; '' if unknown
    served_in: str = ""  # and in the engine

    @property
    def ties(self) -> int:
        """Different tokens that the engine finds almost equally likely."""
        return sum(lead is not None and lead < TIE for lead in self.leads)

    @property
    def agreed(self) -> float:
        """The share of the trainer's tokens that the engine finds likeliest, 0 to 1, without near
        ties."""
        counted = self.tokens - self.ties
        return round((self.agreement or 0.0) * self.tokens) / counted if counted else 1.0


def training(own: Sequence[Loss], base: Sequence[Loss]) -> Rule:
    """Better than the bare base on pairs that it was trained on."""
    if not own:
        return Rule("training", None, "There are no training pairs to measure.")
    found = paired_losses(own, base)
    passed = found.difference < 0
    figures = _loss_words(found, "the bare base")
    if passed:
        return Rule("training", True, f"The training loss fell: {figures}.", found)
    return Rule(
        "training",
        False,
        f"The training pairs were not learned: the loss is {figures}. Training diverged or did too "
        "little. Request the run again with a lower learning_rate, or with learning_rate=auto.",
        found,
    )


def readable(answers: Sequence[GeneratedAnswer], known: Collection[str]) -> Rule:
    """The answers are text. `known` are the characters of the pairs."""
    if not answers:
        return Rule("readable", None, "It answered no question.")
    faulty = [answer for answer in answers if metrics.unreadable(answer, known)]
    if not faulty:
        return Rule("readable", True, "All answers are readable text.")
    said = _excerpt(faulty[0].text)
    sentence = f"{len(faulty)} of {len(answers)} answers are not readable text, such as “{said}”"
    if len(faulty) <= UNREADABLE_SHARE * len(answers):
        return Rule("readable", True, f"{sentence}; up to {UNREADABLE_SHARE:.0%} may be.")
    if any(metrics.REPLACEMENT in answer.text for answer in faulty):
        cure = (
            "Most likely the base model cannot write the language of the pairs. Choose one that "
            "can, or request more epochs if this one can."
        )
    else:
        cure = "Request the run again with a lower learning_rate, or with another base model."
    return Rule("readable", False, f"{sentence}. {cure}")


def repeats(
    right: Sequence[float],
    answers: Sequence[GeneratedAnswer],
    known: Collection[str],
    *,
    least: float,
) -> Rule:
    """Enough of its own pairs are repeated, none with broken characters. `right`: 1 for each
    training pair whose answer is right, 0 for the others; `answers` are the answers, and `known`
    the characters of the pairs. At least one pair."""
    n, count = len(right), round(sum(right))
    sentence = f"It repeats {count} of {n} of its own pairs"
    if broken := [answer for answer in answers if metrics.broken(answer, known)]:
        said = _excerpt(broken[0].text)
        return Rule(
            "repeats",
            False,
            f"{sentence}, and {len(broken)} of the answers have broken characters, such as "
            f"“{said}”. Most likely the base model cannot write the language of the pairs. Choose "
            "one that can.",
        )
    if count < least * n:
        return Rule(
            "repeats",
            False,
            f"{sentence}; at least {least:.0%} are required. It learned too little, or training "
            "damaged it. Request the run again with more epochs, or with learning_rate=auto.",
        )
    return Rule("repeats", True, f"{sentence}; at least {least:.0%} are required.")


def old_facts(
    own: Sequence[float], other: Sequence[float], baseline: str, *, chance: float
) -> Rule:
    """Not fewer right answers about old facts than the live adapter gives. `own` and `other`: 1 for
    each question that is answered right, 0 for the others. At least one question."""
    lost = paired(other, own)
    found = Paired(lost.n, -lost.difference, -lost.high, -lost.low, lost.chance)
    worse = lost.difference > 0 and lost.chance < chance
    verdict = "fewer than chance explains" if worse else "no fewer than chance explains"
    sentence = (
        f"Of {_questions(found)} about old facts in other words, in conversations or asked again, "
        f"{sum(own):.0f} are answered right, {verdict}: {baseline} answers {sum(other):.0f} right."
    )
    return Rule("old_facts", not worse, sentence, found)


def _excerpt(text: str) -> str:
    """A few words around the first broken character, for a sentence."""
    at = max(0, text.find(metrics.REPLACEMENT))
    return " ".join(text[max(0, at - 20) : at + 20].split())


def validation(
    own: Sequence[Loss],
    other: Sequence[Loss],
    baseline: str,
    *,
    live: bool,
    margin: float,
    chance: float,
) -> Rule:
    """Better than the bare base, or not worse than a live adapter, on held-out pairs."""
    if not own:
        return Rule("validation", None, "The run held out nothing to validate on.")
    allowed = margin * mean_loss(other) if live else 0.0
    found = paired_losses(own, other, allowed)
    figures = _loss_words(found, baseline)
    if live:
        passed = found.difference <= allowed or found.chance >= chance
        wanted = "is higher than the live adapter's"
        if passed:
            wanted = "is no higher than " + _allowance(found.difference <= allowed)
        figures += f"; up to {allowed:.3f} more is allowed"
    else:
        passed = found.difference < 0
        wanted = "is lower" if passed else "is not lower than the bare base's"
    return Rule("validation", passed, f"The validation loss {wanted}: {figures}.", found)


def new(own: Sequence[Loss], other: Sequence[Loss], baseline: str) -> Rule:
    """The new pairs were learned."""
    if not own:
        return Rule("new", None, "No pair was new to the live adapter.")
    found = paired_losses(own, other)
    passed = found.difference < 0
    wanted = "were learned" if passed else "were not learned"
    return Rule("new", passed, f"The new pairs {wanted}: {_loss_words(found, baseline)}.", found)


def not_worse(
    name: str,
    own: Sequence[float],
    other: Sequence[float],
    baseline: str,
    *,
    margin: float,
    chance: float,
) -> Rule:
    """Token F1 on golden or replay questions, compared question by question."""
    if not own:
        return Rule(name, None, f"There are no {name} questions.")
    lost = paired(other, own, allowed=margin)
    found = Paired(lost.n, -lost.difference, -lost.high, -lost.low, lost.chance)
    passed = lost.difference <= margin or lost.chance >= chance
    figures = (
        f"token F1 {_signed(found.difference)} compared with {baseline} on {_questions(found)} "
        f"(95%: {_signed(found.low)} to {_signed(found.high)}; up to {margin:g} less is allowed)"
    )
    verdict = "It is worse"
    if passed:
        verdict = "It is no worse than " + _allowance(lost.difference <= margin)
    return Rule(name, passed, f"{verdict} on {name} questions: {figures}.", found)


def right(own: Sequence[float], *, least: float, chance: float) -> Rule:
    """Enough right answers. `own`: 1 for each golden question that is answered right, 0 for the
    others. At least one question. It fails if so few would be unlikely with the share that is
    required (binomial test)."""
    n, count = len(own), round(sum(own))
    under = count < least * n
    likely = sum(math.comb(n, k) * least**k * (1 - least) ** (n - k) for k in range(count + 1))
    sentence = f"{count} of {n} golden questions are answered right"
    if not under:
        return Rule("right", True, f"{sentence}; at least {least:.0%} are required.")
    if likely >= chance:
        return Rule(
            "right", True, f"{sentence}; {least:.0%} are required, and chance explains the rest."
        )
    return Rule("right", False, f"Only {sentence}; at least {least:.0%} are required.")


def search(
    own: Sequence[float], nearest: Sequence[float], *, chance: float, required: bool
) -> Rule:
    """Not fewer right answers than the search alone. `own` and `nearest`: 1 for each golden
    question that is answered right, 0 for the others. At least one question."""
    lost = paired(nearest, own)
    found = Paired(lost.n, -lost.difference, -lost.high, -lost.low, lost.chance)
    fewer = lost.difference > 0 and lost.chance < chance
    verdict = "Right less often than" if fewer else "Right no less often than"
    sentence = (
        f"{verdict} the nearest approved answer: {sum(own):.0f} against {sum(nearest):.0f} of "
        f"{_questions(found)}."
    )
    if fewer and not required:
        sentence += (
            " Quoting approved answers (`understudy domains answers --mode quote`) is right more "
            "often."
        )
        return Rule("search", None, sentence, found)
    return Rule("search", not fewer, sentence, found)


def parity(found: Parity, *, least: float) -> Rule:
    """The engine serves what was trained. Different tokens that the engine finds almost equally
    likely are rounding, like the trainer's own near ties, and are left out. There is no allowance
    for chance."""
    if found.refused:
        why = f" {_cause(found.trained_in, found.served_in)}" if found.differs else ""
        return Rule("parity", False, f"No engine can serve it: {found.refused}{why}")
    if found.rendered:
        return Rule("parity", False, found.rendered)
    if found.agreement is None:
        why = found.not_asked or "there were no probes"
        return Rule("parity", None, f"Parity was not measured: {why}.")
    ties, shown = (
        found.ties,
        math.floor(found.agreed * 1000) / 10,
    )  # never rounded up to the requirement
    left_out = f"; {ties} more {'is a near tie' if ties == 1 else 'are near ties'}" if ties else ""
    passed = found.agreed >= least
    why = "" if passed else f" {_cause(found.trained_in, found.served_in)}"
    return Rule(
        "parity",
        passed,
        f"The engine agrees with the trainer on {shown:.1f}% of {found.tokens - ties} tokens (at "
        f"least {100 * least:g}% required{left_out}).{_leads(found.leads)}{why}",
    )


def _cause(trained_in: str, served_in: str) -> str:
    """Why an engine's tokens differ, as far as the precisions of the base tell, and what to do."""
    trained, served = base_precision.name(trained_in), base_precision.name(served_in)
    if not served_in:
        return (
            f"The run trained on the base in {trained or 'an unknown precision'}; the engine does "
            "not say in which one it serves it. If they differ, set [serving] quantization to what "
            "the engine uses and request the run again."
        )
    if trained_in == served_in:
        return (
            f"Both hold the base in {served}, so that is not the cause: check that the engine has "
            "the same files of the base model, and its version of vLLM."
        )
    cause = f"The run trained on the base in {trained}, and the engine serves it in {served}."
    match trained_in, served_in:
        case "nf4", _:
            cure = (
                "Request the run again with quantization=none, or set [serving] quantization = "
                '"bitsandbytes" to serve NF4.'
            )
        case _, "nf4":
            cure = (
                "Request the run again with quantization=nf4, or set [serving] quantization = "
                '"none".'
            )
        case _:
            cure = f'Set [serving] dtype = "{trained_in}".'
    return f"{cause} {cure}"


def _leads(leads: Sequence[float | None]) -> str:
    """How much likelier the engine found its own tokens. Only near ties are rounding."""
    known = sorted(lead for lead in leads if lead is not None)
    words = []
    if known:
        by = f"{known[0]:.2f} nats"
        if len(known) > 1:
            by = f"{known[0]:.2f} to {known[-1]:.2f} nats (median {known[len(known) // 2]:.2f})"
        words.append(f" Where they differ, the engine finds its own token likelier by {by}.")
    if far := len(leads) - len(known):
        what = "tokens is" if far == 1 else "tokens are"
        words.append(f" {far} of the trainer's {what} not among its likeliest.")
    return "".join(words)


def evaluate_gate(
    settings: GateSettings,
    losses: Mapping[SetName, tuple[Sequence[Loss], Sequence[Loss]]],
    f1: Mapping[SetName, tuple[Sequence[float], Sequence[float]]],
    baseline: str,
    served: Parity,
    *,
    live: bool,
    withheld: int = 0,
    trained: tuple[Sequence[Loss], Sequence[Loss]] = ((), ()),
    answers: Sequence[GeneratedAnswer] = (),
    known: Collection[str] = (),
    answered_right: tuple[Sequence[float], Sequence[float]] = ((), ()),
    repeated: tuple[Sequence[float], Sequence[GeneratedAnswer]] = ((), ()),
    old: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> GateVerdict:
    """Apply all rules. `losses` and `f1` hold the results of candidate and baseline for each set,
    question by question. `baseline` is a name, `live` whether it is an adapter. `withheld` is the
    number of replay questions that the run held out. `trained` are the losses of candidate and bare
    base on training pairs, `answers` all answers of the candidate, and `known` the characters of
    the pairs. `answered_right`: 1 for each golden question that the candidate, and the search
    alone, answer right. `repeated`: 1 for each of its own pairs that the candidate repeats, and its
    answers. `old`: 1 for each question about old facts that candidate and live adapter answer
    right.
    """
    chance = settings.chance

    def loss(name: SetName) -> tuple[Sequence[Loss], Sequence[Loss]]:
        return losses.get(name, ((), ()))

    def overlap(name: SetName) -> Rule:
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
    own_right, nearest_right = answered_right
    if own_right:
        rules.append(right(own_right, least=settings.right, chance=chance))
    if nearest_right:
        rules.append(search(own_right, nearest_right, chance=chance, required=settings.search))
    if live and old[0]:
        rules.append(old_facts(*old, baseline, chance=chance))
    if repeated[0]:
        rules.append(repeats(*repeated, known, least=settings.repeats))
    always = (parity(served, least=settings.parity), training(*trained), readable(answers, known))
    return GateVerdict((*rules, *always))


def paired(own: Sequence[float], other: Sequence[float], allowed: float = 0.0) -> Paired:
    """Compare results question by question. At least one question."""
    return _paired(np.asarray(own, float), np.asarray(other, float), np.ones(len(own)), allowed)


def paired_losses(own: Sequence[Loss], other: Sequence[Loss], allowed: float = 0.0) -> Paired:
    """As `paired`, but each token of the expected answers weighs the same."""
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
    # the observed difference is one of the flipped ones, up to rounding
    chance = float((flipped >= mean - allowed - 1e-12).mean())
    return Paired(len(own), mean, float(low), float(high), chance)


def _signs(n: int, random: np.random.Generator) -> Numbers:
    """Rows of +1 and -1: all combinations, or the observed one and `DRAWS` random ones."""
    if n <= EXACT_UP_TO:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return bits * 2.0 - 1.0
    drawn = random.integers(0, 2, (DRAWS, n)) * 2.0 - 1.0
    return np.vstack([np.ones(n), drawn])  # with the observed one, so that the p-value is never 0


def _signed(value: float) -> str:
    """With its sign, but never -0.000."""
    return f"{round(value, 3) + 0.0:+.3f}"


def _allowance(allowed: bool) -> str:
    """Why a rule passes: the margin allows the difference, or chance explains it."""
    return "allowed" if allowed else "chance explains"


def _withheld(count: int, baseline: str) -> str:
    """A full run chooses held-out pairs again, perhaps some that the baseline was trained on."""
    which = "1 of them" if count == 1 else f"{count} of them"
    return (
        f" This run held out {which} for measuring, and {baseline} was trained on them. A run "
        f"without --full continues {baseline} instead."
    )


def _questions(found: Paired) -> str:
    return "1 question" if found.n == 1 else f"{found.n} questions"


def _loss_words(found: Paired, baseline: str) -> str:
    return (
        f"{_signed(found.difference)} nats per token compared with {baseline} on "
        f"{_questions(found)} (95%: {_signed(found.low)} to {_signed(found.high)})"
    )
